"""Lists users through the gateway. Holds the name and secret of a [client] of the gateway, and nothing of Genesys Cloud.

pip install PureCloudPlatformClientV2
GATEWAY_CLIENT=crm GATEWAY_SECRET=... NO_PROXY=localhost,127.0.0.1 python main.py
"""

import os

import PureCloudPlatformClientV2

gateway = os.environ.get("GATEWAY", "http://localhost:8080")
PureCloudPlatformClientV2.configuration.host = gateway

client = PureCloudPlatformClientV2.api_client.ApiClient().get_client_credentials_token(
    os.environ.get("GATEWAY_CLIENT", "local"), os.environ.get("GATEWAY_SECRET", "local")
)
users = PureCloudPlatformClientV2.UsersApi(client).get_users(page_size=5)
print(users.total, "users, the first:", ", ".join(user.name for user in users.entities))
