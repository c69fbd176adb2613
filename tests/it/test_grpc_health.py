"""Many who watch the health: all of them are told, whoever else comes and goes."""
import grpc
from test_grpc_standard import NOT_SERVING, SERVING, health, watch  # noqa: F401


def test_every_watcher_is_told(start_bfm, private_postgres, state_env, health):
    bfm = start_bfm(state_env(private_postgres, private_postgres.create_database()))
    with grpc.insecure_channel("127.0.0.1:" + bfm.env["BFM_GRPC_PORT"]) as channel:
        streams = [watch(channel, health) for _ in range(600)]
        assert {next(stream).status for stream in streams} == {SERVING}
        gone, streams = streams[:300], streams[300:]
        for stream in gone:
            stream.cancel()
        private_postgres.kill()
        assert {next(stream).status for stream in streams} == {NOT_SERVING}
        late = watch(channel, health)
        assert next(late).status == NOT_SERVING
        for stream in streams[:299]:
            stream.cancel()
        private_postgres.start()
        assert next(streams[-1]).status == next(late).status == SERVING
        streams[-1].cancel()
        late.cancel()
        again = watch(channel, health)  # the first one of a new list
        assert next(again).status == SERVING
        private_postgres.kill()
        assert next(again).status == NOT_SERVING
