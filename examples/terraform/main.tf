# The Genesys Cloud provider through the gateway. The tokens that its pool asks for at the start are handles, made at once; the real ones are the
# gateway's, which spreads all calls over as many as the credential may have. So write there how many, and here how many pages are read at a time:
#
#   [credential]
#   tokens = 10
#
# With tokens = 1 keep token_pool_size at 1: the platform's limit is counted for the token behind the handles. See docs/limits.md, "More tokens".

terraform {
  required_providers {
    genesyscloud = {
      source = "mypurecloud/genesyscloud"
    }
  }
}

variable "gateway_client" {
  type        = string
  description = "Name of a [client] of the gateway"
}

variable "gateway_secret" {
  type        = string
  sensitive   = true
  description = "What gcg client add printed"
}

variable "gateway_port" {
  type    = string
  default = "8080"
}

variable "region" {
  type        = string
  description = "Where the organization is: the same region as in the gateway's [general] host"
  default     = "us-east-1"
}

provider "genesyscloud" {
  oauthclient_id     = var.gateway_client
  oauthclient_secret = var.gateway_secret
  aws_region         = var.region
  token_pool_size    = 10

  gateway {
    protocol = "http"
    host     = "localhost"
    port     = var.gateway_port
  }
}

# Uploads do not go through the gateway: with its token the provider sends them to api. and apps. of aws_region, where a handle is 401. Resources that
# upload need a provider with an OAuth client of its own: genesyscloud_script, genesyscloud_integration_action with a function, and contact lists
# whose contacts come from a file. Write  provider = genesyscloud.direct  in them.
provider "genesyscloud" {
  alias              = "direct"
  oauthclient_id     = var.direct_client_id
  oauthclient_secret = var.direct_client_secret
  aws_region         = var.region
}

variable "direct_client_id" {
  type        = string
  description = "Id of an OAuth client of Genesys Cloud, for uploads alone; without such resources leave it out"
  default     = ""
}

variable "direct_client_secret" {
  type      = string
  sensitive = true
  default   = ""
}

# The call by which to see that it works
data "genesyscloud_organizations_me" "mine" {}

output "organization" {
  value = data.genesyscloud_organizations_me.mine.name
}
