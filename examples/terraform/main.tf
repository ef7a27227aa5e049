# The Genesys Cloud provider through the gateway. Its token pool asks for ten tokens at the start: each is a handle, made at once, and all of them
# share the one real token. Keep token_pool_size small all the same: the platform's limit is counted for the token behind them.

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
  token_pool_size    = 1

  gateway {
    protocol = "http"
    host     = "localhost"
    port     = "8080"
  }
}
