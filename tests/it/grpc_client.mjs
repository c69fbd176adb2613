// Calls every method of the gRPC API with @grpc/grpc-js: PROTO ADDRESS TOKEN. Prints one JSON object of what came.
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [proto, address, token] = process.argv.slice(2);
const definition = loader.loadSync(proto, { keepCase: true, defaults: true, longs: Number, oneofs: true });
const { MigrationService } = grpc.loadPackageDefinition(definition).migration;
const client = new MigrationService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set('authorization', `Bearer ${token}`);
const users = '20250101120000_create_users_postgresql_core';
const target = { connection: 'core' };
const out = {};

function call(method, request = {}, options = {}) {
  return new Promise((resolve, reject) => {
    client[method](request, metadata, { deadline: Date.now() + 60000, ...options },
      (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

function stream(method, request) {
  return new Promise((resolve, reject) => {
    const got = [];
    client[method](request, metadata)
      .on('data', (message) => got.push(message))
      .on('error', reject)
      .on('end', () => resolve(got));
  });
}

async function failure(method, request, options) {
  try {
    await call(method, request, options);
  } catch (error) {
    return { code: grpc.status[error.code], details: error.details };
  }
  return { code: 'OK' };
}

out.Health = await call('Health');
out.dry = await call('Migrate', { connection: 'core', target, dry_run: true });
out.StreamMigrate = await stream('StreamMigrate', { connection: 'core', target });
out.Migrate = await call('Migrate', { connection: 'core', target, schema: 'core' });
out.MigrateUp = await call('MigrateUp', { connection: 'tenants', target: { connection: 'tenants' }, schemas: ['a'] });
out.ListMigrations = await call('ListMigrations', { connection: 'core' });
out.GetMigration = await call('GetMigration', { migration_id: users });
out.GetMigrationStatus = await call('GetMigrationStatus', { migration_id: users });
out.IsMigrationApplied = await call('IsMigrationApplied', { migration_id: users });
out.GetMigrationHistory = await call('GetMigrationHistory', { migration_id: users });
out.ListExecutions = await call('ListExecutions', { migration_id: users });
out.ListSkipped = await call('ListSkipped', {});
out.OrderBatch = await call('OrderBatch', { connection: 'core', migration_ids: [users] });
out.ListRuns = await call('ListRuns', { limit: 1 });
out.GetRun = await call('GetRun', { run_id: out.MigrateUp.run_id });
out.WatchRun = await stream('WatchRun', { run_id: out.MigrateUp.run_id });
out.CancelRun = await call('CancelRun', { run_id: out.MigrateUp.run_id });
out.ReindexMigrations = await call('ReindexMigrations');
out.MigrateDown = await call('MigrateDown', { migration_id: '20250102120000_create_orders_postgresql_core' });
out.RollbackMigration = await call('RollbackMigration', { migration_id: users });
out.RetryRun = await failure('RetryRun', { run_id: out.MigrateUp.run_id });
out.unknown = await failure('GetMigration', { migration_id: 'nothing' });
metadata.set('authorization', 'Bearer wrong');
out.wrong = await failure('ListMigrations');
metadata.remove('authorization');
out.missing = await failure('ListMigrations');
out.many = (await Promise.all(Array.from({ length: 1000 }, () => call('Health')))).length;
client.close();
console.log(JSON.stringify(out));
