# Tidemill as a Terraform module: uploads the functions and the template to a bucket, and creates the stack from it. Everything
# else is in ../template.yml, whose parameters are the keys of `parameters`.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "name" {
  description = "Name of the deployment and its stack"
  type        = string
  default     = "tidemill"
}

variable "code_bucket" {
  description = "Bucket in the provider's region for the functions and the template"
  type        = string
}

variable "functions" {
  description = "Directory with api.zip, authorize.zip, sweep.zip, scale.zip and notify.zip"
  type        = string
}

variable "architecture" {
  description = "CPU architecture of the functions and workers: arm64 or x86_64"
  type        = string
  default     = "arm64"
}

variable "admin_token_sha256" {
  description = "SHA-256 of the token that administrators send, in hex"
  type        = string
}

variable "worker_token_sha256" {
  description = "SHA-256 of the token that workers send, in hex"
  type        = string
}

variable "worker_token" {
  description = "The token that workers on EC2 send; only with MaxWorkers"
  type        = string
  default     = ""
  sensitive   = true
}

variable "permissions_boundary" {
  description = "ARN of a policy that limits every role of the deployment"
  type        = string
  default     = ""
}

variable "parameters" {
  description = "Other parameters of the template"
  type        = map(string)
  default     = {}
}

data "aws_partition" "this" {}

data "aws_region" "this" {}

locals {
  functions = ["api", "authorize", "sweep", "scale", "notify"]
  files     = { for function in local.functions : function => "${var.functions}/${function}.zip" }
  # CloudFormation compares names, not content: new code gets a new prefix.
  version  = substr(sha256(join(",", [for function in local.functions : filesha256(local.files[function])])), 0, 16)
  prefix   = "code/${local.version}"
  template = "${path.module}/../template.yml"
}

resource "aws_s3_object" "function" {
  for_each = local.files

  bucket      = var.code_bucket
  key         = "${local.prefix}/${each.key}.zip"
  source      = each.value
  source_hash = filesha256(each.value)
}

resource "aws_s3_object" "template" {
  bucket      = var.code_bucket
  key         = "templates/${filesha256(local.template)}.yml"
  source      = local.template
  source_hash = filesha256(local.template)
}

resource "aws_cloudformation_stack" "this" {
  name         = var.name
  template_url = "https://${var.code_bucket}.s3.${data.aws_region.this.name}.${data.aws_partition.this.dns_suffix}/${aws_s3_object.template.key}"
  capabilities = ["CAPABILITY_IAM"]

  parameters = merge(
    {
      Name                = var.name
      Architecture        = var.architecture
      CodeBucket          = var.code_bucket
      CodePrefix          = local.prefix
      AdminTokenSha256    = var.admin_token_sha256
      WorkerTokenSha256   = var.worker_token_sha256
      WorkerToken         = var.worker_token
      PermissionsBoundary = var.permissions_boundary
    },
    var.parameters,
  )

  depends_on = [aws_s3_object.function]
}

output "endpoint" {
  description = "URL of the API"
  value       = aws_cloudformation_stack.this.outputs["Endpoint"]
}

output "outputs" {
  description = "All outputs of the stack"
  value       = aws_cloudformation_stack.this.outputs
}
