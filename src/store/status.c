#include "store/status.h"

#include <string.h>

#include "base/base.h"

const char *status_normalize(const char *status)
{
    static const char *const known[] = {"applied", "failed", "rolled_back"};

    if (status == NULL)
        return "pending";
    if (strcmp(status, "success") == 0)
        return "applied";
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strcmp(status, known[i]) == 0)
            return known[i];
    return "pending";
}

static bool status_is(const char *status, const char *wanted)
{
    return strcmp(status_normalize(status), wanted) == 0;
}

/* The list's word where it says "applied" and nothing is: an undo by an older server, or a run of a
 * fixed migration in another schema. */
static const char *status_of_unapplied(const struct status_facts *facts)
{
    if (!status_is(facts->listed, "applied"))
        return status_normalize(facts->listed);
    return status_is(facts->newest, "rolled_back") ? "rolled_back" : "pending";
}

static void status_judge_declared(const struct status_facts *facts, struct status_verdict *verdict)
{
    verdict->applied = facts->declared_applied;
    if (facts->declared_applied) {
        verdict->status = "applied";
        verdict->applied_at_us = facts->declared_applied_at_us;
    } else if (status_is(facts->declared, "pending") || status_is(facts->declared, "applied")) {
        verdict->status = status_of_unapplied(facts);
    } else {
        verdict->status = status_normalize(facts->declared);
    }
}

static void status_judge_dynamic(const struct status_facts *facts, struct status_verdict *verdict)
{
    verdict->applied = facts->applied_executions > 0;
    verdict->applied_at_us = facts->applied_at_us;
    verdict->status = status_normalize(facts->listed);
    if (!verdict->applied)
        verdict->status = status_of_unapplied(facts);
    else if (status_is(facts->listed, "pending"))
        verdict->status = "applied";
    else if (status_is(facts->listed, "applied") && status_is(facts->newest, "rolled_back"))
        verdict->status = "rolled_back";
}

/* Recorded before there was a table of executions. */
static void status_judge_list(const struct status_facts *facts, struct status_verdict *verdict)
{
    verdict->status = status_normalize(facts->listed);
    if (status_is(facts->listed, "applied") && status_is(facts->newest, "rolled_back"))
        verdict->status = "rolled_back";
    verdict->applied = status_is(verdict->status, "applied");
    verdict->schemas_applied = verdict->applied ? 1 : 0;
}

void status_judge(const struct status_facts *facts, struct status_verdict *verdict)
{
    *verdict = (struct status_verdict){.error = "", .schemas_applied = facts->applied_executions};
    if (facts->fixed && facts->declared != NULL) {
        status_judge_declared(facts, verdict);
    } else if (facts->executions == 0) {
        status_judge_list(facts, verdict);
    } else if (facts->fixed) {
        verdict->status = status_of_unapplied(facts);
    } else {
        status_judge_dynamic(facts, verdict);
    }
    if (facts->listed_error != NULL)
        verdict->error = facts->listed_error;
    else if (status_is(verdict->status, "failed") && facts->newest_error != NULL)
        verdict->error = facts->newest_error;
}
