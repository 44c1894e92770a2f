"""Deploys the copy of the template to the emulator, twice, and uses, updates and deletes it; see deploy.sh."""

import pathlib
import re
import subprocess
import sys

import boto3

import deploy_template
from deploy_issuer import Issuer
from smoke import Run
from stack import Checks, Stack, until

AUDIENCE = "activity-log"


def deploy(stack, template, settings, issuer, **parameters):
    """Runs `sam deploy`, and returns the stack's status."""
    parameters = {"JwtIssuer": issuer.url, "JwtAudience": f"another,{AUDIENCE}"} | parameters
    overrides = [f"{name}={value}" for name, value in parameters.items()]
    subprocess.run(["sam", "deploy", "--template-file", template, "--config-file", settings, "--stack-name", stack.name,
                    "--s3-bucket", "artifacts", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset",
                    "--no-progressbar", "--parameter-overrides", *overrides], check=True, stdout=sys.stderr)
    return stack.read_outputs()


def functions(stack):
    """The names of the stack's functions."""
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack.name)
    return {found["PhysicalResourceId"] for page in pages for found in page["StackResourceSummaries"]
            if found["ResourceType"] == "AWS::Lambda::Function"}


def levels(names):
    """The log levels of functions. The one that forwards events has none."""
    configuration = boto3.client("lambda").get_function_configuration
    variables = [configuration(FunctionName=name)["Environment"]["Variables"] for name in names]
    return {found["LOG_LEVEL"] for found in variables if "LOG_TABLE" in found}


def faults(local, endpoint, stack):
    """The lines of faults that `local verify` prints of the stack's log."""
    command = [local, "verify", "--table", stack.outputs["LogTableName"], "--dynamodb-endpoint", endpoint]
    printed = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    # The emulator's scan of an index whose partition key is the table's shows items without its sort key.
    known = re.compile(r'by-action holds ".*", an item of no known kind$')
    found = [line for line in printed if not known.match(line)]
    return found if printed else ["it printed nothing"]


def main(build, local, endpoint, work):
    check, issuer = Checks(), Issuer()
    template, settings = pathlib.Path(build) / "emulated.yaml", pathlib.Path(work) / "samconfig.toml"
    deploy_template.write(pathlib.Path(build) / "template.yaml", template, endpoint)
    # Not the project's settings, which are for a real account.
    settings.write_text("version = 0.1\n")
    boto3.client("s3").create_bucket(Bucket="artifacts")

    def token(sub, scope, has_times=False, **more):
        return issuer.token(AUDIENCE, sub, scope, has_times, **more)

    stack = Stack("activity-log-dev")
    status = deploy(stack, template, settings, issuer)
    check("the stack is created", status == "CREATE_COMPLETE", status)
    writer = token("service", "activity:write activity:admin")
    run = Run(check, stack, writer, token("ada", ""), live=token("ada", "", has_times=True))
    run.all()
    check("an outsider does not read", stack.call(run.feed, token("eve", ""))[0] == 403)
    check("an auditor reads", stack.call(run.feed, token("audit", "activity:read"))[0] == 200)
    for organization, status in (("another", 403), (run.workspace, 201)):
        narrowed = token("narrowed", "activity:write", organizations=organization)
        found = run.post(run.event(f"of-{organization}"), token=narrowed)[0]
        check(f"a service for {organization} gets {status}", found == status, found)
    stray = run.event("stray", workspace_id="typo")
    status, body = stack.call("/api/v1/workspaces/typo/activity", writer, stray)
    check("an unknown workspace takes nothing", status == 404, body)
    check("a token for others opens nothing", stack.call(run.feed, issuer.token("others", "ada", "", False))[0] == 401)

    other = Stack("activity-log-prod")
    status = deploy(other, template, settings, issuer)
    check("a second environment is created", status == "CREATE_COMPLETE", status)
    check("it shares nothing", not set(other.outputs.values()) & set(stack.outputs.values()), other.outputs)
    check("it is empty", other.call(run.feed, token("audit", "activity:read"))[0] == 404)
    other_run = Run(check, other, writer, token("bob", ""))
    other_run.record_over_http()
    check("the first one has none of it", stack.call(other_run.feed, token("audit", "activity:read"))[0] == 404)

    # The account is the emulator's.
    sources = "000000000000/com.example.smoke"
    status = deploy(stack, template, settings, issuer, LogLevel="DEBUG", DirectorySources=sources)
    check("the stack is updated", status == "UPDATE_COMPLETE", status)
    names = functions(stack)
    check("the update reaches every function", levels(names) == {"DEBUG"}, levels(names))
    check("the other environment stays as it was", levels(functions(other)) == {"INFO"}, levels(functions(other)))
    check("the log survives the update", run.has("over-http"))
    check("it records after the update", run.post(run.event("updated"))[0] == 201 and run.has("updated"))
    run.put(run.event("newcomer", "member.added", details={"user": "newcomer", "role": "client"}))
    newcomer = token("newcomer", "")
    check("the bus adds members after the update", until(lambda: stack.call(run.feed, newcomer)[0] == 200))

    for deployed in (stack, other):
        found = faults(local, endpoint, deployed)
        check(f"the log of {deployed.name} has no faults", found == [], found)

    formation = boto3.client("cloudformation")
    formation.delete_stack(StackName=stack.name)
    formation.get_waiter("stack_delete_complete").wait(StackName=stack.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    left = {found["FunctionName"] for found in boto3.client("lambda").list_functions()["Functions"]}
    check("the delete takes its functions", names and not left & names, left)
    check("it leaves the other environment", functions(other) <= left, left)
    sys.exit(check.status())


main(*sys.argv[1:])
