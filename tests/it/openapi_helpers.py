"""openapi.json as a judge of answers: DescribedApi sends requests and holds every answer against it, strictly: what it
does not name is an error, although clients are told to ignore it."""
import copy
import json
import re

import yaml
from jsonschema import Draft202012Validator, RefResolver

METHODS = ("get", "post", "put", "delete", "patch")


def resolve(document, node):
    """What a reference within the document stands for."""
    while isinstance(node, dict) and "$ref" in node:
        target = document
        assert node["$ref"].startswith("#/"), node
        for part in node["$ref"][2:].split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def close(document, node, is_part=False):
    """A copy in which no object has members that its schema does not name. Parts of an allOf stay open: they see the
    members of the others."""
    if isinstance(node, list):
        return [close(document, item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: close(document, value) for key, value in node.items()}
    if "allOf" in node:
        closed["allOf"] = [close(document, resolve(document, part), is_part=True) for part in node["allOf"]]
        closed["unevaluatedProperties"] = False
    elif node.get("type") == "object" and "properties" in node and "additionalProperties" not in node and not is_part:
        closed["additionalProperties"] = False
    return closed


def parse_events(text):
    """[{field: value}] of a stream of server-sent events, without comments."""
    frames = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in fields:
            frames.append(fields)
    return frames


class DescribedApi:
    def __init__(self, document):
        self.document = copy.deepcopy(document)
        self.closed = close(document, document)
        self.resolver = RefResolver("", self.closed)
        self.seen = set()
        self.operations = {(method.upper(), path): operation for path, item in self.closed["paths"].items()
                           for method, operation in item.items() if method in METHODS}

    def documented(self):
        return {(method, path, int(status)) for (method, path), operation in self.operations.items()
                for status in operation["responses"]}

    def find(self, method, path):
        """The path as the document has it: literal segments win."""
        path = path.partition("?")[0]
        found = [known for known_method, known in self.operations if known_method == method and re.fullmatch(
            re.sub(r"\\{id\\}", "[^/]+", re.escape(known)), path)]
        assert found, "%s %s is not described" % (method, path)
        return min(found, key=lambda known: known.count("{"))

    def validate(self, schema, value, what):
        errors = list(Draft202012Validator(schema, resolver=self.resolver).iter_errors(value))
        assert not errors, "%s: %s" % (what, "; ".join("%s: %s" % (error.json_path, error.message[:300])
                                                       for error in errors[:5]))

    def check(self, method, path, answer):
        known = self.find(method, path)
        what = "%s %s %d" % (method, known, answer.status)
        responses = self.operations[method, known]["responses"]
        assert str(answer.status) in responses, "%s is not described: %r" % (what, answer)
        response = resolve(self.closed, responses[str(answer.status)])
        for header in response.get("headers", {}):
            assert answer.headers[header], "%s lacks the header %s" % (what, header)
        self.check_body(response, answer, what)
        self.seen.add((method, known, answer.status))

    def check_body(self, response, answer, what):
        if "content" not in response:
            assert answer.body == b"", "%s has a body: %r" % (what, answer)
            return
        media_type = answer.headers["Content-Type"].partition(";")[0]
        assert media_type in response["content"], "%s is %s" % (what, media_type)
        schema = response["content"][media_type]["schema"]
        if media_type == "application/json":
            self.validate(schema, answer.json, what)
        elif media_type == "application/x-yaml":
            self.validate(schema, yaml.safe_load(answer.text), what)
        elif media_type == "text/event-stream":
            for frame in parse_events(answer.text):
                self.validate(schema, json.loads(frame["data"]), what)
        else:
            self.validate(schema, answer.text, what)

    def check_error(self, answer, status):
        """One that any request may get, whatever it asks for."""
        assert answer.status == status, answer
        assert answer.headers["Content-Type"].partition(";")[0] == "application/json"
        self.validate({"$ref": "#/components/schemas/Error"}, answer.json, "error %d" % status)

    def ask(self, client, method, path, status, body=None, headers=None):
        answer = client.request(method, path, body, headers)
        assert answer.status == status, (method, path, answer)
        self.check(method, path, answer)
        if status < 400 and isinstance(body, dict):
            self.check_request(method, path, body)
        return answer

    def check_request(self, method, path, body):
        """What is taken is described, too."""
        known = self.find(method, path)
        described = resolve(self.closed, self.operations[method, known].get("requestBody"))
        assert described, "%s %s: the body is not described" % (method, known)
        self.validate(described["content"]["application/json"]["schema"], body, "%s %s, the request" % (method, known))

    def get(self, client, path, status=200, headers=None):
        return self.ask(client, "GET", path, status, headers=headers)

    def post(self, client, path, status=200, body=None, headers=None):
        return self.ask(client, "POST", path, status, body, headers)
