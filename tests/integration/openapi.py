"""Whether the API answers as its description says: the part of JSON Schema that is used there."""

import json
import os
import re

DESCRIPTION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "admin", "page", "openapi.json")
KINDS = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "integer": int, "number": (int, float),
}
KNOWN = {
    "$ref", "type", "enum", "anyOf", "properties", "required", "additionalProperties", "items", "minimum", "maximum",
    "minItems", "maxItems", "pattern", "default", "description",
}

# What the description says of all answers that it doesn't name.
ANYWHERE = (408, 413, 421, 431, 500, 501, 505)


def is_of(value, kind):
    return isinstance(value, KINDS[kind]) and (kind in ("boolean", "null") or not isinstance(value, bool))


class Description:
    def __init__(self, path=DESCRIPTION):
        with open(path) as file:
            self.document = json.load(file)

    def schema(self, path, method="get", status="200"):
        answer = self.document["paths"][path][method]["responses"][status]
        content, = answer["content"].values()
        return content["schema"]

    def operations(self):
        """(path, method, what is described of it) of each."""
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield path, method, operation

    def find(self, path):
        """The described path that this one is like, or None."""
        for described in self.document["paths"]:
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", described), path):
                return described
        return None

    def answer_of(self, path, method, status):
        """What is described of such an answer, or None. What any request may be answered stands in one place."""
        methods = self.document["paths"].get(self.find(path), {})
        operation = methods.get("get" if method == "HEAD" else method.lower())
        otherwise = self.document["components"]["responses"]["Otherwise"]
        if operation is None:
            return otherwise if status in (404 if not methods else 405, *ANYWHERE) else None
        found = operation["responses"].get(str(status))
        if found is None and status in ANYWHERE and "default" in operation["responses"]:
            return otherwise
        return found

    def faults_of_answer(self, path, method, status, content_type, body):
        """What is wrong with an answer of the API to a request that `path` was sent in, without its query."""
        answer = self.answer_of(path, method, status)
        if answer is None:
            return [f"{method} {path}: {status} isn't described"]
        content = answer.get("content", {})
        if method == "HEAD" or not content:
            return [f"{method} {path}: {status} has a body"] if body else []
        if content_type not in content:
            return [f"{method} {path}: {status} is of type {content_type}"]
        if not content_type.endswith("json"):
            return []
        return self.faults(json.loads(body), content[content_type]["schema"], f"{method} {path} {status}")

    def faults(self, value, schema, where="$"):
        """What is wrong with it, a line each."""
        unknown = set(schema) - KNOWN
        assert not unknown, f"{where}: the description uses {unknown}, which isn't checked"
        if "$ref" in schema:
            return self.faults(value, self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], where)
        if "anyOf" in schema:
            tried = [self.faults(value, one, where) for one in schema["anyOf"]]
            return [] if [] in tried else min(tried, key=len)
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds and not any(is_of(value, kind) for kind in kinds):
            return [f"{where}: {value!r:.80} is no {kinds}"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{where}: {value!r:.80} is none of {schema['enum']}"]
        found = []
        if isinstance(value, dict):
            found += self.faults_of_object(value, schema, where)
        elif isinstance(value, list):
            if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
                found.append(f"{where}: {len(value)} items")
            for i, item in enumerate(value):
                found += self.faults(item, schema["items"], f"{where}[{i}]")
        elif isinstance(value, str):
            if "pattern" in schema and not re.search(schema["pattern"], value):
                found.append(f"{where}: {value!r:.80} isn't like {schema['pattern']}")
        elif is_of(value, "number"):
            if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
                found.append(f"{where}: {value} is out of bounds")
        return found

    def faults_of_object(self, value, schema, where):
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        found = [f"{where}: no {name}" for name in schema.get("required", []) if name not in value]
        for name, member in value.items():
            if name in known:
                found += self.faults(member, known[name], f"{where}.{name}")
            elif rest is False:
                found.append(f"{where}: {name} isn't described")
            elif isinstance(rest, dict):
                found += self.faults(member, rest, f"{where}.{name}")
        return found
