"""Makes a copy of the built template that the emulator ministack can deploy; see deploy.sh.

The copy keeps the transform, the resources, their properties and the policies. Each change lets the emulator run what AWS
runs, and says why. Nothing here may hide a fault of the template.
"""

import copy
import json
import re

from samcli.yamlhelper import yaml_dump, yaml_parse
from samtranslator.translator.transform import transform


def resources(template, kind):
    return {name: found for name, found in template["Resources"].items() if found["Type"] == kind}


def native(template):
    """The template without SAM, as CloudFormation would transform it."""
    template = copy.deepcopy(template)
    for function in resources(template, "AWS::Serverless::Function").values():
        # The transform takes code from S3 only. The code is of no concern here.
        function["Properties"]["CodeUri"] = "s3://bucket/key"
    policies = type("NoManagedPolicies", (), {"load": lambda self: {}})()
    return transform(template, {}, policies)


def routes(template):
    """The routes of the HTTP API as resources of their own, because the emulator does not read the API's body."""
    made = {}
    for api, found in resources(native(template), "AWS::ApiGatewayV2::Api").items():
        body = found["Properties"].get("Body")
        if not body:
            continue
        ref = {"Ref": api}
        schemes = body.get("components", {}).get("securitySchemes", {})
        for name, scheme in schemes.items():
            authorizer = scheme["x-amazon-apigateway-authorizer"]
            made[f"{api}{name}Authorizer"] = {"Type": "AWS::ApiGatewayV2::Authorizer", "Properties": {
                "ApiId": ref, "Name": name, "AuthorizerType": "JWT",
                "IdentitySource": [authorizer["identitySource"]],
                "JwtConfiguration": {key.title(): value for key, value in authorizer["jwtConfiguration"].items()}}}
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                integration = operation["x-amazon-apigateway-integration"]
                name = api + re.sub(r"[\W_]", "", path.title()) + method.title()
                made[name + "Integration"] = {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {
                    "ApiId": ref, "IntegrationType": "AWS_PROXY", "IntegrationUri": integration["uri"],
                    "PayloadFormatVersion": integration["payloadFormatVersion"]}}
                route = {"ApiId": ref, "RouteKey": f"{method.upper()} {path}",
                         "Target": {"Fn::Join": ["/", ["integrations", {"Ref": name + "Integration"}]]}}
                for requirement in operation.get("security", []):
                    for scheme, scopes in requirement.items():
                        route |= {"AuthorizationType": "JWT", "AuthorizerId": {"Ref": f"{api}{scheme}Authorizer"},
                                  "AuthorizationScopes": scopes}
                made[name + "Route"] = {"Type": "AWS::ApiGatewayV2::Route", "Properties": route}
    return made


def split_lists(template):
    """Splits the parameters that are lists where they are used, because the emulator leaves them as text."""
    parameters = template.get("Parameters", {})
    lists = {name for name, parameter in parameters.items() if parameter["Type"] == "CommaDelimitedList"}

    def replaced(value):
        if isinstance(value, list):
            return [replaced(member) for member in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == {"Ref"} and value["Ref"] in lists:
            return {"Fn::Split": [",", value]}
        return {name: replaced(member) for name, member in value.items()}

    template["Resources"] = replaced(template["Resources"])
    for name in lists:
        parameters[name]["Type"] = "String"


FORWARDER = """
import json, os, boto3
def handler(event, context):
    answer = boto3.client("lambda").invoke(FunctionName=os.environ["FUNCTION"], Payload=json.dumps(event))
    return json.load(answer["Payload"])
"""


def forward(template, integration, function):
    """Forwards the events of a WebSocket API, because the emulator's call functions in Python and Node only."""
    forwarder = integration + "Forwarder"
    template["Resources"][forwarder] = {"Type": "AWS::Serverless::Function", "Properties": {
        "Runtime": "python3.12", "Handler": "index.handler", "Architectures": ["x86_64"], "InlineCode": FORWARDER,
        "Environment": {"Variables": {"FUNCTION": {"Ref": function}}}}}
    uri = "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${" + forwarder + ".Arn}/invocations"
    properties = template["Resources"][integration]["Properties"]
    if function not in json.dumps(properties["IntegrationUri"]):
        raise SystemExit(f"{integration} does not call {function}")
    properties["IntegrationUri"] = {"Fn::Sub": uri}


def whole_number(template, value):
    """A number that may be a parameter's default."""
    return int(template["Parameters"][value["Ref"]]["Default"] if isinstance(value, dict) else value)


def emulated(endpoint, *path):
    """The emulator's address of an API."""
    return {"Fn::Join": ["/", [endpoint, "_aws/execute-api", *path]]}


def adapted(template, endpoint):
    """The copy. `endpoint` is the emulator's URL."""
    made = routes(template)
    template = copy.deepcopy(template)
    template["Resources"] |= made
    split_lists(template)
    for name, found in list(template["Resources"].items()):
        # The emulator knows no metric filters, and refuses alarms on expressions.
        is_expression = found["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in found["Properties"]
        if is_expression or found["Type"] == "AWS::Logs::MetricFilter":
            del template["Resources"][name]
            # The dashboard shows them.
            board = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]
            board["Fn::Sub"] = board["Fn::Sub"].replace("${%s.Arn}" % name, name)
    for source in resources(template, "AWS::Lambda::EventSourceMapping").values():
        scaling = source["Properties"].get("ScalingConfig", {})
        # Parameters are text, also numbers. The emulator stops polling every queue when it meets text here.
        for key, value in scaling.items():
            scaling[key] = whole_number(template, value)
    # API Gateway's own names lead out of the emulator.
    socket = {"Ref": "WebSocketApi"}
    for function in resources(template, "AWS::Serverless::Function").values():
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        if "CONNECTIONS_ENDPOINT" in variables:
            variables["CONNECTIONS_ENDPOINT"] = emulated(endpoint, socket, "live")
    outputs = template["Outputs"]
    outputs["ApiUrl"]["Value"] = emulated(endpoint, {"Ref": "HttpApi"})
    outputs["WebSocketUrl"]["Value"] = emulated(endpoint.replace("http", "ws", 1), socket, "live")
    forward(template, "WebSocketIntegration", "SubscriptionsFunction")
    # The issuer of this test has no certificate.
    template["Parameters"]["JwtIssuer"]["AllowedPattern"] = "http://localhost:[0-9]+"
    return template


def write(source, target, endpoint):
    """Writes the copy of a built template."""
    template = yaml_parse(source.read_text())
    target.write_text(yaml_dump(adapted(template, endpoint)))
