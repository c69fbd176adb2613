DROP TABLE IF EXISTS "request_errors";
ALTER TABLE "requests" DROP COLUMN "region";
