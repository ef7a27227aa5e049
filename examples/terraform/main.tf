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

provider "genesyscloud" {
  oauthclient_id     = var.gateway_client
  oauthclient_secret = var.gateway_secret
  aws_region         = "us-east-1" # not used for calls: the region is the gateway's
  token_pool_size    = 10

  gateway {
    protocol = "http"
    host     = "localhost"
    port     = "8080"
  }
}
