"""A client of the gRPC API that is made from migration.proto."""
import importlib
import pathlib
import subprocess
import sys

import grpc
import pytest

PROTO = pathlib.Path(__file__).resolve().parents[2] / "src/api/proto/migration.proto"
SERVICE = "/migration.MigrationService/"
STREAMS = {"StreamMigrate", "WatchRun", "WatchEvents"}


def load_messages(folder, name, text):
    """The module of messages that protoc makes from a .proto text."""
    (folder / (name + ".proto")).write_text(text, encoding="utf-8")
    subprocess.run(["protoc", "--proto_path=%s" % folder, "--python_out=%s" % folder, name + ".proto"], check=True,
                   cwd=folder)
    sys.path.insert(0, str(folder))
    try:
        sys.modules.pop(name + "_pb2", None)
        return importlib.import_module(name + "_pb2")
    finally:
        sys.path.remove(str(folder))


class GrpcClient:
    """client.Migrate(connection="core", ...) is the answer; .call(method, ...) the same with what comes beside it."""

    def __init__(self, bfm, messages, token="unset", options=()):
        self.messages = messages
        self.token = bfm.env.get("BFM_API_TOKEN") if token == "unset" else token
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1), *options]
        self.channel = grpc.insecure_channel("127.0.0.1:" + bfm.env["BFM_GRPC_PORT"], options=options)
        self.service = messages.DESCRIPTOR.services_by_name["MigrationService"]

    def metadata(self, extra=()):
        own = [("authorization", "Bearer " + self.token)] if self.token is not None else []
        return own + list(extra)

    def stub(self, method):
        about = self.service.methods_by_name[method]
        request = getattr(self.messages, about.input_type.name)
        answer = getattr(self.messages, about.output_type.name)
        make = self.channel.unary_stream if method in STREAMS else self.channel.unary_unary
        return request, make(SERVICE + method, request.SerializeToString, answer.FromString)

    def __getattr__(self, method):
        def call(timeout=60, metadata=(), **fields):
            request, stub = self.stub(method)
            return stub(request(**fields), timeout=timeout, metadata=self.metadata(metadata))
        return call

    def call(self, method, timeout=60, metadata=(), **fields):
        """The answer, or the list of messages of a stream, and the metadata in front of it."""
        request, stub = self.stub(method)
        extra = {"timeout": timeout, "metadata": self.metadata(metadata)}
        if method in STREAMS:
            stream = stub(request(**fields), **extra)
            return list(stream), dict(stream.initial_metadata())
        answer, about = stub.with_call(request(**fields), **extra)
        return answer, dict(about.initial_metadata())

    def fails(self, method, **fields):
        """Code and text of a call that must fail."""
        with pytest.raises(grpc.RpcError) as error:
            answer = getattr(self, method)(**fields)
            if method in STREAMS:
                list(answer)
        return error.value.code(), error.value.details()

    def close(self):
        self.channel.close()


@pytest.fixture(scope="session")
def messages(tmp_path_factory):
    """Made from the text in the tree; test_proto_is_offered holds it against what the server gives out."""
    return load_messages(tmp_path_factory.mktemp("proto"), "migration", PROTO.read_text(encoding="utf-8"))


@pytest.fixture
def connect(messages):
    """connect(bfm, token=...) is a GrpcClient, closed after the test."""
    clients = []

    def make(bfm, **kwargs):
        clients.append(GrpcClient(bfm, messages, **kwargs))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
