"""What the template makes of its parameters: pools of workers, and their network."""

import ipaddress
import json
import re
import unittest

from template import Template

WORKERS = {"MaxWorkers": "10", "WorkerToken": "t", "WorkerBinaryUrl": "/api/w", "WorkerBinarySha256": "0" * 64}
GPU = {
    "LabelsA": "arch=x86_64,gpu=true",
    "MaxWorkersA": "4",
    "WorkerArchitectureA": "x86_64",
    "WorkerInstanceTypeA": "g5.*,g6.*",
    "WorkerSlotsA": "1",
    "WorkerAmiA": "ami-0123456789abcdef0",
    "WorkerBinaryUrlA": "https://example.org/tidemill-x86_64",
    "WorkerBinarySha256A": "1" * 64,
}
GROUP = "AWS::AutoScaling::AutoScalingGroup"


def policy_of(group: dict) -> dict:
    return group["MixedInstancesPolicy"]


def overrides_of(group: dict) -> dict:
    (override,) = policy_of(group)["LaunchTemplate"]["Overrides"]
    return override["InstanceRequirements"]


class Pools(unittest.TestCase):
    def test_without_workers_there_is_no_machine_and_no_network(self):
        template = Template(LabelsA="gpu=true")
        kinds = {template.raw["Resources"][name]["Type"] for name in template.resources()}
        self.assertEqual([kind for kind in kinds if kind.startswith(("AWS::EC2", "AWS::AutoScaling"))], [])
        self.assertIn("LabelledQueueA", template.resources())
        for function in template.resources("AWS::Lambda::Function").values():
            self.assertNotIn("TIDEMILL_POOLS", function.get("Environment", {}).get("Variables", {}))

    def test_every_pool_has_a_queue_a_group_and_a_fallback_on_demand(self):
        pools = {f"Labels{x}": f"size={x}" for x in "ABC"} | {f"MaxWorkers{x}": "3" for x in "ABC"}
        template = Template(**WORKERS, **pools)
        self.assertEqual(template.failed_rules(), [])
        groups = template.resources(GROUP)
        self.assertEqual(len(groups), 8)
        functions = template.resources("AWS::Lambda::Function")
        said = [functions[name]["Environment"]["Variables"] for name in ("ApiFunction", "ScaleFunction")]
        self.assertEqual(said[0]["TIDEMILL_POOLS"], said[1]["TIDEMILL_POOLS"])
        listed = json.loads(said[0]["TIDEMILL_POOLS"])
        self.assertEqual([pool["labels"] for pool in listed], ["", "size=A", "size=B", "size=C"])
        self.assertEqual(
            listed[1],
            {
                "labels": "size=A",
                "group": "tidemill-workers-a",
                "fallback": "tidemill-workers-a-on-demand",
                "slots": 2,
                "min": 0,
                "max": 3,
            },
        )
        names = {group["AutoScalingGroupName"] for group in groups.values()}
        self.assertEqual(names, {pool[key] for pool in listed for key in ("group", "fallback")})
        queues = json.loads(said[1]["TIDEMILL_LABELLED_QUEUES"])
        self.assertEqual(queues, {f"size={x}": f"<LabelledQueue{x}>" for x in "ABC"})
        for name, data in template.resources("AWS::EC2::LaunchTemplate").items():
            pool = name.removeprefix("WorkerTemplate")
            script = data["LaunchTemplateData"]["UserData"]
            self.assertIn(f"queue='<{f'LabelledQueue{pool}' if pool else 'JobQueue'}>'", script)
            self.assertIn(f"labels='{f'size={pool}' if pool else ''}'", script)
            self.assertLess(len(script.encode()), 16 * 1024, "EC2's limit for user data")

    def test_pool_has_its_own_architecture_types_and_program(self):
        template = Template(Architecture="arm64", **WORKERS, **GPU)
        self.assertEqual(template.failed_rules(), [])
        groups = template.resources(GROUP)
        requirements = overrides_of(groups["WorkerGroupA"])
        self.assertEqual(requirements["AllowedInstanceTypes"], ["g5.*", "g6.*"])
        self.assertEqual(overrides_of(groups["WorkerGroup"])["CpuManufacturers"], ["amazon-web-services"])
        templates = template.resources("AWS::EC2::LaunchTemplate")
        data = templates["WorkerTemplateA"]["LaunchTemplateData"]
        self.assertEqual(data["ImageId"], "ami-0123456789abcdef0")
        self.assertIn("binary_url='https://example.org/tidemill-x86_64'", data["UserData"])
        self.assertIn("binary_url='/api/w'", templates["WorkerTemplate"]["LaunchTemplateData"]["UserData"])

    def test_spot_is_taken_from_many_types_and_falls_back_to_demand(self):
        groups = Template(SpotShare="70", WorkerVcpus="8", **WORKERS).resources(GROUP)
        distribution = policy_of(groups["WorkerGroup"])["InstancesDistribution"]
        self.assertEqual(distribution["OnDemandPercentageAboveBaseCapacity"], 30)
        self.assertEqual(distribution["SpotAllocationStrategy"], "price-capacity-optimized")
        fallback = policy_of(groups["WorkerFallback"])["InstancesDistribution"]
        self.assertEqual(fallback["OnDemandPercentageAboveBaseCapacity"], 100)
        for group in groups.values():
            requirements = overrides_of(group)
            self.assertNotIn("AllowedInstanceTypes", requirements)
            self.assertEqual(requirements["VCpuCount"], {"Min": "8", "Max": "8"})
            self.assertEqual(requirements["MemoryMiB"], {"Min": 16384})
            self.assertEqual(len(group["VPCZoneIdentifier"]), 3, "zones")
        only_demand = Template(SpotShare="0", **WORKERS)
        self.assertEqual(list(only_demand.resources(GROUP)), ["WorkerGroup"])
        variables = only_demand.resources()["ApiFunction"]["Environment"]["Variables"]
        self.assertNotIn("fallback", json.loads(variables["TIDEMILL_POOLS"])[0])

    def test_no_group_ends_a_machine_before_the_longest_job_has_ended(self):
        week, longest_job = 7 * 86_400, 30 * 86_400
        for group in Template(**WORKERS).resources(GROUP).values():
            self.assertGreater(group["MaxInstanceLifetime"], week + longest_job)

    def test_warm_pool_needs_machines_on_demand(self):
        self.assertIn("SpotShare must be 0", " ".join(Template(WarmWorkers="2", **WORKERS).failed_rules()))
        template = Template(WarmWorkers="2", SpotShare="0", **WORKERS)
        self.assertEqual(template.failed_rules(), [])
        group = template.resources()["WorkerGroup"]
        # EC2 accepts a warm pool only for a group without a mixed instances policy.
        self.assertNotIn("MixedInstancesPolicy", group)
        hooks = {hook["LifecycleHookName"] for hook in group["LifecycleHookSpecificationList"]}
        self.assertEqual(hooks, {"drain", "set-up"})
        self.assertEqual(template.resources()["WarmWorkerPool"]["PoolState"], "Stopped")
        data = template.resources()["WorkerTemplate"]["LaunchTemplateData"]
        self.assertEqual(data["InstanceType"], "c7g.large")

    def test_rules_name_what_a_pool_lacks(self):
        for missing, rule in [
            ({"LabelsA": ""}, "LabelsA must be given"),
            ({"WorkerBinaryUrlA": ""}, "WorkerArchitectureA is not that of the stack"),
            ({"WorkerBinarySha256A": ""}, "WorkerBinarySha256A must be given"),
            ({"WorkerToken": ""}, "WorkerToken must be given"),
        ]:
            failed = Template(**{**WORKERS, **GPU, **missing}).failed_rules()
            self.assertIn(rule, " ".join(failed))

    def test_pools_differ_only_where_their_parameters_do(self):
        template = Template()
        for kind in ("WorkerTemplate", "WorkerGroup", "WorkerFallback"):
            texts = {json.dumps(template.raw["Resources"][kind + x], sort_keys=True, default=str) for x in "ABC"}
            same = {re.sub(r'(?<=[A-Za-z0-9])[ABC]\b|(?<=-)[abc](?=["-])', "", text) for text in texts}
            self.assertEqual(len(same), 1, kind)


class Permissions(unittest.TestCase):
    def statements(self, template: Template, role: str) -> dict:
        (policy,) = template.resources()[role]["Policies"]
        return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}

    def test_workers_take_from_the_queues_of_pools_only(self):
        statements = self.statements(Template(LabelsB="a=b", **WORKERS, **GPU), "WorkerRole")
        self.assertEqual(statements["TakeJobs"]["Resource"], ["<JobQueue.Arn>", "<LabelledQueueA.Arn>"])
        self.assertEqual(set(statements), {"TakeJobs", "Logs"})

    def test_logs_and_shells_of_workers_are_parameters(self):
        template = Template(WorkerLogs="off", SessionManager="on", **WORKERS)
        statements = self.statements(template, "WorkerRole")
        self.assertEqual(set(statements), {"TakeJobs", "Shells"})
        self.assertFalse(any("Parameter" in action for action in statements["Shells"]["Action"]))
        self.assertNotIn("WorkerLogGroup", template.resources())
        script = template.resources()["WorkerTemplate"]["LaunchTemplateData"]["UserData"]
        self.assertIn("log_group=''", script)


class Network(unittest.TestCase):
    # Addresses that AWS keeps in each subnet.
    RESERVED = 5
    MAX_WORKERS = 500

    def test_each_zone_has_room_for_more_than_500_workers(self):
        for zones in ("2", "3", "4"):
            template = Template(WorkerZones=zones, **WORKERS)
            subnets = template.resources("AWS::EC2::Subnet")
            networks = [ipaddress.ip_network(subnet["CidrBlock"]) for subnet in subnets.values()]
            self.assertEqual(len(networks), int(zones))
            for network in networks:
                self.assertGreater(network.num_addresses - self.RESERVED, self.MAX_WORKERS)
            vpc = ipaddress.ip_network(template.resources()["Network"]["CidrBlock"])
            self.assertTrue(all(network.subnet_of(vpc) for network in networks))
            overlaps = [(a, b) for a in networks for b in networks if a != b and a.overlaps(b)]
            self.assertEqual(overlaps, [])
            self.assertEqual(len({subnet["AvailabilityZone"] for subnet in subnets.values()}), int(zones))
            routed = {
                association["SubnetId"]
                for association in template.resources("AWS::EC2::SubnetRouteTableAssociation").values()
            }
            self.assertEqual(routed, {f"<{name}>" for name in subnets})


class Monitoring(unittest.TestCase):
    def test_workers_that_do_not_start_raise_an_alarm(self):
        template = Template(**WORKERS)
        alarm = template.resources()["UnstartedWorkerAlarm"]
        (metric,) = template.resources()["UnstartedWorkers"]["MetricTransformations"]
        self.assertEqual(alarm["MetricName"], metric["MetricName"])
        self.assertNotIn("UnstartedWorkerAlarm", Template(Alarms="off", **WORKERS).resources())
        self.assertNotIn("UnstartedWorkerAlarm", Template().resources())


if __name__ == "__main__":
    unittest.main()
