"""What of a gRPC call is refused before anything else is done: tokens and metadata given twice, messages of too much."""
import grpc
import pytest
from api_helpers import core  # noqa: F401
from grpc_helpers import connect, messages  # noqa: F401
from harness.processes import wait_until
from test_grpc_standard import SERVING, health, watch  # noqa: F401

Code = grpc.StatusCode
OPEN = [("/migration.MigrationService/Health", False), ("/grpc.health.v1.Health/Check", False), ("/grpc.health.v1.Health/Watch", False),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", True),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", True)]


def test_two_tokens_are_none(core, connect):
    """As over HTTP, even if both are right."""
    code, text = connect(core).fails("ListRuns", metadata=[("authorization", "Bearer " + core.env["BFM_API_TOKEN"])])
    assert (code, text) == (Code.UNAUTHENTICATED, "invalid Authorization header format")


def test_two_keys_are_none(core, connect):
    code, text = connect(core).fails("MigrateUp", metadata=[("idempotency-key", "a"), ("idempotency-key", "a")], connection="core")
    assert (code, text) == (Code.INVALID_ARGUMENT, "metadata idempotency-key must be given once")


def test_two_request_ids_are_none(core, connect):
    client = connect(core)
    assert client.call("ListRuns", metadata=[("x-request-id", "one")])[1]["x-request-id"] == "one"
    assert client.call("ListRuns", metadata=[("x-request-id", "one"), ("x-request-id", "two")])[1]["x-request-id"] not in ("one", "two")


def test_strangers_are_refused_before_their_message(core, connect):
    """Though it is longer than any may be."""
    assert connect(core, token=None).fails("Migrate", schema="x" * (5 << 20))[0] == Code.UNAUTHENTICATED


@pytest.mark.parametrize("path, asks_more", OPEN)
def test_messages_without_a_token_are_short(core, connect, path, asks_more):
    channel = connect(core, token=None).channel
    call = channel.stream_stream(path) if asks_more else channel.unary_stream(path)
    long = b"\x12\x81\x20" + b"x" * 4097  # a field that nothing is called
    with pytest.raises(grpc.RpcError) as error:
        list(call(iter([long]) if asks_more else long, timeout=60))
    assert error.value.code() == Code.RESOURCE_EXHAUSTED


def test_messages_have_a_limit_of_fields(core, connect):
    """Each takes memory, however short it is."""
    code, text = connect(core).fails("OrderBatch", migration_ids=[""] * 100001)
    assert (code, text) == (Code.INVALID_ARGUMENT, "the message has more than 100000 fields")


def test_watches_of_strangers_have_a_bound(core, connect, health):
    """Beside them everybody else is served; one that ends makes room."""
    address = "127.0.0.1:" + core.env["BFM_GRPC_PORT"]
    channels = [grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(4)]
    try:
        watches = [watch(channels[index // 700], health) for index in range(2048)]
        assert {next(stream).status for stream in watches} == {SERVING}
        with pytest.raises(grpc.RpcError) as error:
            next(watch(channels[3], health))
        assert error.value.code() == Code.RESOURCE_EXHAUSTED and "without a token" in error.value.details()
        connect(core).call("ListRuns")
        connect(core, token=None).call("Health")
        watches.pop().cancel()
        wait_until(lambda: can_watch(channels[3], health), what="room for another watch")
    finally:
        for channel in channels:
            channel.close()


def can_watch(channel, health):
    stream = watch(channel, health)
    try:
        return next(stream).status == SERVING
    except grpc.RpcError:
        return False
    finally:
        stream.cancel()
