/* Idempotency keys. Part of component_store.c. */

static struct store_key key_of(const char *owner, const char *key, const char *run_id)
{
    return (struct store_key){.owner = owner,
                              .key = key,
                              .fingerprint = run_id,
                              .run_id = run_id,
                              .now_us = fixture_time,
                              .expires_at_us = fixture_time + 1000};
}

/* Whether the claim got the key; else it stands for `expected`. */
static bool claim(struct fixture *f, const struct store_key *key, const char *expected)
{
    struct store_key_claim out;
    struct waited waited;

    waited_init(&waited, f->loop);
    must_be_done(&waited, f->store->ops->claim_key(f->store, &waited.op, key, &out));
    assert_string_equal(out.run_id, out.claimed ? key->run_id : expected);
    assert_string_equal(out.fingerprint, out.run_id);
    arena_free(&out.arena);
    return out.claimed;
}

static void test_keys(void **state)
{
    struct fixture *f = *state;
    struct store_key key = key_of("ci", "k1", "r1");
    struct store_key_claim out;
    struct waited waited;
    char long_key[300];

    must_prepare(f);
    assert_true(claim(f, &key, ""));
    assert_true(claim(f, &key, "")); /* its answer was lost */
    key = key_of("ci", "k1", "r2");
    assert_false(claim(f, &key, "r1"));
    key = key_of("ops", "k1", "r3");
    assert_true(claim(f, &key, ""));
    key = key_of("ci", "k2", "r4");
    assert_true(claim(f, &key, ""));
    key = key_of("ci", "k1", "r5");
    key.now_us = fixture_time + 999;
    assert_false(claim(f, &key, "r1"));
    key.now_us = fixture_time + 1000; /* expired */
    key.expires_at_us = fixture_time + 2000;
    assert_true(claim(f, &key, ""));
    key.run_id = key.fingerprint = "r6";
    assert_false(claim(f, &key, "r5"));
    memset(long_key, 'x', sizeof(long_key) - 1);
    long_key[sizeof(long_key) - 1] = '\0';
    key.key = long_key;
    waited_init(&waited, f->loop);
    assert_int_equal(f->store->ops->claim_key(f->store, &waited.op, &key, &out), ERR_INVALID);
    key.key = "\xff";
    assert_int_equal(f->store->ops->claim_key(f->store, &waited.op, &key, &out), ERR_INVALID);
}

/* Many claims of few keys, in one turn, from two servers: each key has one owner, and all agree. */
static void test_key_races(void **state)
{
    enum {
        CLAIMS = 60,
        KEYS = 7
    };
    struct fixture *f = *state;
    struct store *stores[2] = {f->store, f->other = fixture_new_store(f)};
    static struct waited waited[2][CLAIMS];
    static struct store_key_claim out[2][CLAIMS];
    static struct store_key keys[2][CLAIMS];
    static char names[KEYS][8], runs[2][CLAIMS][16];
    const char *winner[KEYS] = {NULL};
    unsigned claimed[KEYS] = {0};

    must_prepare(f);
    assert_int_equal(try_prepare(f, f->other, NULL), 0);
    for (int i = 0; i < CLAIMS; i++) {
        for (int s = 0; s < 2; s++) { /* in opposite orders */
            int k = s == 0 ? i % KEYS : KEYS - 1 - i % KEYS;

            snprintf(names[k], sizeof(names[k]), "k%d", k);
            snprintf(runs[s][i], sizeof(runs[s][i]), "r %d %d", s, i);
            keys[s][i] = key_of("ci", names[k], runs[s][i]);
            waited_init(&waited[s][i], f->loop);
            assert_int_equal(
                stores[s]->ops->claim_key(stores[s], &waited[s][i].op, &keys[s][i], &out[s][i]), 0);
        }
        if (i % 20 == 19)
            wait_ms(f->loop, 0);
    }
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < CLAIMS; i++) {
            int k = s == 0 ? i % KEYS : KEYS - 1 - i % KEYS;

            must_be_done(&waited[s][i], 0);
            claimed[k] += out[s][i].claimed;
            assert_int_equal(out[s][i].claimed, strcmp(out[s][i].run_id, runs[s][i]) == 0);
            if (winner[k] == NULL)
                winner[k] = out[s][i].run_id;
            assert_string_equal(out[s][i].run_id, winner[k]);
        }
    for (int k = 0; k < KEYS; k++)
        assert_int_equal(claimed[k], 1);
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < CLAIMS; i++)
            arena_free(&out[s][i].arena);
    assert_int_equal(raw_number(f, "SELECT count(*) FROM bfm_idempotency_keys"), KEYS);
}
