"""Reads infra/template.yml and evaluates it for given parameters, as CloudFormation does, as far as the tests need it."""

import re
from pathlib import Path

from cfnlint.decode import decode

PATH = Path(__file__).resolve().parent.parent / "template.yml"
PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::URLSuffix": "amazonaws.com",
}
# In place of AWS::NoValue.
NOTHING = object()


class Template:
    """The template with the values of parameters; those without a default and a value are `given`."""

    def __init__(self, **parameters: str):
        self.raw, problems = decode(str(PATH))
        assert not problems, problems
        self.parameters = {
            name: str(parameters.get(name, properties.get("Default", "given")))
            for name, properties in self.raw["Parameters"].items()
        }
        unknown = parameters.keys() - self.parameters.keys()
        assert not unknown, f"no such parameters: {unknown}"

    def resources(self, kind: str | None = None) -> dict:
        """The resources whose condition holds, with their properties, of one type or of all."""
        return {
            name: self.value(resource.get("Properties", {}))
            for name, resource in self.raw["Resources"].items()
            if kind in (None, resource["Type"]) and self.holds(resource.get("Condition"))
        }

    def outputs(self) -> set:
        return {name for name, output in self.raw["Outputs"].items() if self.holds(output.get("Condition"))}

    def failed_rules(self) -> list[str]:
        """What the assertions of the rules say that do not hold."""
        failed = []
        for rule in self.raw["Rules"].values():
            if self.value(rule.get("RuleCondition", {"Fn::Equals": ["", ""]})):
                asserted = rule["Assertions"]
                failed += [one["AssertDescription"] for one in asserted if not self.value(one["Assert"])]
        return failed

    def holds(self, condition: str | None) -> bool:
        return condition is None or self.value(self.raw["Conditions"][condition])

    def value(self, node):
        """The value of a part of the template."""
        if isinstance(node, list):
            values = [self.value(item) for item in node]
            return [value for value in values if value is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in ("Ref", "Condition") and isinstance(argument, str):
                return self.ref(argument) if name == "Ref" else self.holds(argument)
            if name.startswith("Fn::"):
                return self.function(name[4:], argument)
        values = {key: self.value(item) for key, item in node.items()}
        return {key: value for key, value in values.items() if value is not NOTHING}

    def ref(self, name: str):
        if name == "AWS::NoValue":
            return NOTHING
        if name in self.parameters:
            is_list = self.raw["Parameters"][name]["Type"] == "CommaDelimitedList"
            return self.parameters[name].split(",") if is_list else self.parameters[name]
        return PSEUDO.get(name, f"<{name}>")

    def function(self, name: str, argument):
        if name == "If":
            condition, then, otherwise = argument
            return self.value(then if self.holds(condition) else otherwise)
        if name == "Sub":
            text, names = argument if isinstance(argument, list) else (argument, {})
            names = self.value(names)
            return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", lambda found: self.named(found[1], names), text)
        values = self.value(argument)
        if name == "GetAtt":
            return f"<{'.'.join(values) if isinstance(values, list) else values}>"
        if name == "FindInMap":
            mapping, first, second = values
            return self.raw["Mappings"][mapping][first][second]
        functions = {
            "And": lambda: all(values),
            "Or": lambda: any(values),
            "Not": lambda: not values[0],
            "Equals": lambda: str(values[0]) == str(values[1]),
            "EachMemberEquals": lambda: all(value == values[1] for value in values[0]),
            "Join": lambda: values[0].join(map(str, values[1])),
            "Split": lambda: values[1].split(values[0]),
            "Select": lambda: values[1][int(values[0])],
            "GetAZs": lambda: [f"us-east-1{zone}" for zone in "abcdef"],
            "Base64": lambda: values,
        }
        return functions[name]()

    def named(self, name: str, names: dict) -> str:
        return str(names[name] if name in names else self.ref(name))
