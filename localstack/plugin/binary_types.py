"""Makes `*/*` among the BinaryMediaTypes of a REST API mean every type, as on AWS. LocalStack ignores it, so that compressed replies
would arrive as base64 (services/apigateway/next_gen/execute_api/helpers.py, 4.14.0).

It runs when it is imported, and as a script in the image's /etc/localstack/init/ready.d, which runs scripts in its own process."""

from localstack.services.apigateway.next_gen.execute_api import helpers
from localstack.services.apigateway.next_gen.execute_api.handlers import integration_request, integration_response
from localstack.services.apigateway.next_gen.execute_api.integrations import aws


def _with_any_type(original):
    def matches(mime_type, binary_media_types):
        return "*/*" in (binary_media_types or []) or original(mime_type, binary_media_types)

    return matches


for _module in (helpers, aws, integration_request, integration_response):
    _module.mime_type_matches_binary_media_types = _with_any_type(_module.mime_type_matches_binary_media_types)
