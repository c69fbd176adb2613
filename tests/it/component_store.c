/*
 * One suite for every kind of state store: component_store sqlite | postgresql | mysql
 * (or BFM_TEST_STORE). PostgreSQL is named as in pg_fixture.h, MariaDB as in maria_fixture.h.
 */
#include "store_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "store_proxy.h"
#include "store_test_views.h"

#include "store_test_faults.h"
#include "store_test_found.h"
#include "store_test_order.h"
#include "store_test_pages.h"
#include "store_test_runs.h"
#include "store_test_standing.h"
#include "store_test_tenants.h"
#include "store_test_world.h"

#include "store_test_keys.h"

#include "store_test_ledger.h"
#include "store_test_memory.h"
#include "store_test_servers.h"

#include "store_test_mysql.h"

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_events),
        STORE_TEST(test_applied_times_and_checksum),
        STORE_TEST(test_schemas_of_a_dynamic_migration),
        STORE_TEST(test_fixed_migration_in_another_schema),
        STORE_TEST(test_writing_again_changes_nothing),
        STORE_TEST(test_found_again_and_again),
        STORE_TEST(test_found_after_the_run_itself),
        STORE_TEST(test_found_before_the_run_itself),
        STORE_TEST(test_found_gone_twice),
        STORE_TEST(test_found_by_two_servers),
        STORE_TEST(test_found_by_one_server_recorded_by_another),
        STORE_TEST(test_found_while_another_writes),
        STORE_TEST(test_found_and_the_answer_lost),
        STORE_TEST(test_batches_equal_single_writes),
        STORE_TEST(test_what_stands),
        STORE_TEST(test_starts_without_an_end),
        STORE_TEST(test_an_ended_step_is_not_cut_off),
        STORE_TEST(test_the_last_five_skips),
        STORE_TEST(test_recent_executions),
        STORE_TEST(test_scopes),
        STORE_TEST(test_any_text_comes_back),
        STORE_TEST(test_texts_that_do_not_fit),
        STORE_TEST(test_nothing_before_prepare),
        STORE_TEST(test_prepare_goes_first),
        STORE_TEST(test_reads_see_earlier_writes),
        STORE_TEST(test_a_turn_is_one_transaction),
        STORE_TEST(test_one_bad_write_in_a_batch),
        STORE_TEST(test_long_but_allowed_schema),
        STORE_TEST(test_close_waits),
        STORE_TEST(test_cancel),
        STORE_TEST(test_full_queue),
        STORE_TEST(test_adoption),
        STORE_TEST(test_exact_layout),
        STORE_TEST(test_older_layouts_are_left_alone),
        STORE_TEST(test_two_stores_at_once),
        STORE_TEST(test_many_prepare_at_once),
        STORE_TEST(test_sync),
        STORE_TEST(test_many_migrations),
        STORE_TEST(test_many_schemas),
        STORE_TEST(test_run_statuses),
        STORE_TEST(test_run_comes_back),
        STORE_TEST(test_run_stays_ended),
        STORE_TEST(test_run_lists),
        STORE_TEST(test_run_lanes),
        STORE_TEST(test_run_steps),
        STORE_TEST(test_run_goes_with_its_steps),
        STORE_TEST(test_runs_survive),
        STORE_TEST(test_keys),
        STORE_TEST(test_key_races),
        STORE_TEST(test_dead_servers),
        STORE_TEST(test_interrupted_is_taken_over),
        STORE_TEST(test_goodbye),
        STORE_TEST(test_interrupted_once),
        STORE_TEST(test_what_is_too_old),
        STORE_TEST(test_old_runs_go),
        STORE_TEST(test_many_old_runs),
        STORE_TEST(test_all_runs_are_kept),
        STORE_TEST(test_pages),
        STORE_TEST(test_tenants),
        STORE_TEST(test_tenants_count_what_is_asked_for),
        STORE_TEST(test_many_tenants),
        STORE_TEST(test_ledger_rows),
        STORE_TEST(test_ledger_swaps),
        STORE_TEST(test_ledger_turn),
        STORE_TEST(test_ledger_races),
        STORE_TEST(test_ledger_pages),
        STORE_TEST(test_ledger_answer_lost),
        STORE_TEST(test_ledger_in_an_older_state),
        STORE_TEST(test_resolved_is_recorded),
        STORE_TEST(test_lost_answers),
        STORE_TEST(test_away_and_back),
        STORE_TEST(test_killed_while_writing),
        STORE_TEST(test_role_without_create),
        STORE_TEST(test_bad_file),
        STORE_TEST(test_no_folder),
        STORE_TEST(test_full_disk),
        STORE_TEST(test_locked_file),
        STORE_TEST(test_lost_tables),
        STORE_TEST(test_lost_references),
        STORE_TEST(test_every_allocation_fails),
        STORE_TEST(test_every_allocation_about_runs_fails),
        STORE_TEST(test_every_allocation_about_the_ledger_fails),
        STORE_TEST(test_server_restart),
        STORE_TEST(test_mysql_earlier_shape),
        STORE_TEST(test_mysql_user_without_create),
        STORE_TEST(test_mysql_user_without_rights),
        STORE_TEST(test_mysql_names),
        STORE_TEST(test_mysql_small_packets),
        STORE_TEST(test_mysql_fleet),
        STORE_TEST(test_mysql_server_killed),
    };
    const char *kind = argc > 1 ? argv[1] : fixture_env("BFM_TEST_STORE", "");

    if (strcmp(kind, "postgresql") == 0) {
        fixture_kind = FIXTURE_POSTGRESQL;
    } else if (strcmp(kind, "mysql") == 0) {
        fixture_kind = FIXTURE_MYSQL;
    } else if (strcmp(kind, "sqlite") != 0) {
        fprintf(stderr, "usage: %s sqlite|postgresql|mysql [test name pattern]\n", argv[0]);
        return 2;
    }
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests_name(kind, tests, NULL, NULL);
}
