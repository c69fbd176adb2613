"""The standard services of gRPC: health and reflection."""
import pathlib

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_helpers import load_messages

from harness.processes import wait_until

PROTO = pathlib.Path(__file__).resolve().parents[2] / "src/api/proto"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


@pytest.fixture(scope="module")
def health(tmp_path_factory):
    return load_messages(tmp_path_factory.mktemp("health"), "health", (PROTO / "health.proto").read_text())


@pytest.fixture(scope="module", params=["v1", "v1alpha"])
def reflection(request, tmp_path_factory):
    name = "reflection_" + request.param
    text = (PROTO / "reflection.proto.in").read_text().replace("@reflection@", request.param)
    return request.param, load_messages(tmp_path_factory.mktemp(name), name, text)


@pytest.fixture
def channel(start_bfm):
    bfm = start_bfm()
    with grpc.insecure_channel("127.0.0.1:" + bfm.env["BFM_GRPC_PORT"]) as made:
        made.bfm = bfm
        yield made


def check(channel, health, service):
    stub = channel.unary_unary("/grpc.health.v1.Health/Check", health.HealthCheckRequest.SerializeToString,
                               health.HealthCheckResponse.FromString)
    return stub(health.HealthCheckRequest(service=service), timeout=20).status


def watch(channel, health, service=""):
    stub = channel.unary_stream("/grpc.health.v1.Health/Watch", health.HealthCheckRequest.SerializeToString,
                                health.HealthCheckResponse.FromString)
    return stub(health.HealthCheckRequest(service=service), timeout=120)


@pytest.mark.parametrize("service", ["", "migration.MigrationService", "grpc.health.v1.Health"])
def test_check(channel, health, service):
    assert check(channel, health, service) == SERVING


def test_check_of_an_unknown_service(channel, health):
    with pytest.raises(grpc.RpcError) as error:
        check(channel, health, "nothing")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert next(watch(channel, health, "nothing")).status == SERVICE_UNKNOWN


def test_watch_over_an_outage_of_the_state_database(start_bfm, private_postgres, state_env, health):
    bfm = start_bfm(state_env(private_postgres, private_postgres.create_database()))
    with grpc.insecure_channel("127.0.0.1:" + bfm.env["BFM_GRPC_PORT"]) as channel:
        stream = watch(channel, health)
        assert next(stream).status == SERVING
        private_postgres.kill()
        assert next(stream).status == NOT_SERVING
        private_postgres.start()
        assert next(stream).status == SERVING
        bfm.process.terminate()
        with pytest.raises(grpc.RpcError) as error:
            for message in stream:
                assert message.status == NOT_SERVING
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        wait_until(lambda: bfm.process.poll() is not None, what="the server to end")


def test_health_beside_a_thousand_calls_on_one_connection(channel, health):
    streams = [watch(channel, health) for _ in range(1000)]
    assert {next(stream).status for stream in streams} == {SERVING}
    for _ in range(20):
        assert check(channel, health, "") == SERVING
        assert channel.bfm.client.get("/health").status == 200
    for stream in streams:
        stream.cancel()
    assert check(channel, health, "") == SERVING


def ask(channel, reflection, *questions):
    version, messages = reflection
    stub = channel.stream_stream("/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version,
                                 messages.ServerReflectionRequest.SerializeToString,
                                 messages.ServerReflectionResponse.FromString)
    return list(stub(iter([messages.ServerReflectionRequest(**question) for question in questions]), timeout=20))


def test_reflection(channel, reflection):
    services, by_symbol, by_name, missing = ask(
        channel, reflection, {"list_services": ""}, {"file_containing_symbol": "migration.MigrationService.Migrate"},
        {"file_by_filename": "health.proto"}, {"file_containing_symbol": "migration.Nothing"})
    names = [service.name for service in services.list_services_response.service]
    assert names == ["migration.MigrationService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                     "grpc.reflection.v1alpha.ServerReflection"]
    file = descriptor_pb2.FileDescriptorProto.FromString(by_symbol.file_descriptor_response.file_descriptor_proto[0])
    assert file.name == "migration.proto" and "Migrate" in [method.name for method in file.service[0].method]
    file = descriptor_pb2.FileDescriptorProto.FromString(by_name.file_descriptor_response.file_descriptor_proto[0])
    assert file.package == "grpc.health.v1"
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert missing.original_request.file_containing_symbol == "migration.Nothing"


def test_reflection_knows_every_name(channel, reflection):
    for name in (ask(channel, reflection, {"list_services": ""})[0].list_services_response.service):
        answer = ask(channel, reflection, {"file_containing_symbol": name.name})[0]
        data = answer.file_descriptor_response.file_descriptor_proto[0]
        file = descriptor_pb2.FileDescriptorProto.FromString(data)
        for message in file.message_type:
            found = ask(channel, reflection, {"file_containing_symbol": file.package + "." + message.name})[0]
            assert found.file_descriptor_response.file_descriptor_proto[0] == data
