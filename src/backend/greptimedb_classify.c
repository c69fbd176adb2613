#include "backend/greptimedb_classify.h"

#include <stddef.h>

#include "base/base.h"

/* Ordered by code. */
static const struct gtdb_code codes[] = {
    {1000, "Unknown", GTDB_UNKNOWN},
    {1001, "Unsupported", GTDB_REFUSED},
    {1002, "Unexpected", GTDB_REFUSED},
    {1003, "Internal", GTDB_UNKNOWN},
    {1004, "InvalidArguments", GTDB_REFUSED},
    {1005, "Cancelled", GTDB_UNKNOWN},
    {1006, "IllegalState", GTDB_UNKNOWN},
    {1007, "External", GTDB_UNKNOWN},
    {1008, "DeadlineExceeded", GTDB_UNKNOWN},
    {1009, "Suspended", GTDB_BUSY},
    {2000, "InvalidSyntax", GTDB_REFUSED},
    {3000, "PlanQuery", GTDB_REFUSED},
    {3001, "EngineExecuteQuery", GTDB_REFUSED},
    {4000, "TableAlreadyExists", GTDB_REFUSED},
    {4001, "TableNotFound", GTDB_REFUSED},
    {4002, "TableColumnNotFound", GTDB_REFUSED},
    {4003, "TableColumnExists", GTDB_REFUSED},
    {4004, "DatabaseNotFound", GTDB_REFUSED},
    {4005, "RegionNotFound", GTDB_REFUSED},
    {4006, "RegionAlreadyExists", GTDB_REFUSED},
    {4007, "RegionReadonly", GTDB_UNKNOWN},
    {4008, "RegionNotReady", GTDB_BUSY},
    {4009, "RegionBusy", GTDB_BUSY},
    {4010, "TableUnavailable", GTDB_BUSY},
    {4011, "DatabaseAlreadyExists", GTDB_REFUSED},
    {5000, "StorageUnavailable", GTDB_UNKNOWN},
    {5001, "RequestOutdated", GTDB_REFUSED},
    {6000, "RuntimeResourcesExhausted", GTDB_BUSY},
    {6001, "RateLimited", GTDB_BUSY},
    {7000, "UserNotFound", GTDB_REFUSED},
    {7001, "UnsupportedPasswordType", GTDB_REFUSED},
    {7002, "UserPasswordMismatch", GTDB_REFUSED},
    {7003, "AuthHeaderNotFound", GTDB_REFUSED},
    {7004, "InvalidAuthHeader", GTDB_REFUSED},
    {7005, "AccessDenied", GTDB_REFUSED},
    {7006, "PermissionDenied", GTDB_REFUSED},
    {8000, "FlowAlreadyExists", GTDB_REFUSED},
    {8001, "FlowNotFound", GTDB_REFUSED},
    {9000, "TriggerAlreadyExists", GTDB_REFUSED},
    {9001, "TriggerNotFound", GTDB_REFUSED},
};

const struct gtdb_code *gtdb_find_code(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (codes[i].code == code)
            return &codes[i];
    return NULL;
}

/* A code of a newer server is judged by its status alone. */
enum gtdb_verdict gtdb_judge_code(int code, int status)
{
    const struct gtdb_code *known = gtdb_find_code(code);

    return known != NULL ? known->verdict : gtdb_judge_status(status);
}

/* What comes in front of the SQL handler has run nothing; a gateway does not know what came behind
 * it. A 408 means that the server stopped waiting, not that it stopped. */
enum gtdb_verdict gtdb_judge_status(int status)
{
    if (status == 429)
        return GTDB_BUSY;
    if (status == 408)
        return GTDB_UNKNOWN;
    return status >= 300 && status < 500 ? GTDB_REFUSED : GTDB_UNKNOWN;
}

const char *gtdb_status_text(int status)
{
    switch (status) {
    case 200:
        return "with something else than an answer of GreptimeDB";
    case 401:
    case 403:
        return "which refuses the user or the password";
    case 404:
    case 405:
        return "so it has no SQL interface there";
    case 408:
        return "as it took too long";
    case 413:
        return "as the statement is larger than it takes (http.body_limit)";
    case 429:
        return "as too much is asked of it at once";
    case 502:
    case 503:
    case 504:
        return "which a gateway in front of it may have said";
    default:
        return "and no reason";
    }
}

bool gtdb_code_is_about_user(int code)
{
    return code >= 7000 && code <= 7005;
}
