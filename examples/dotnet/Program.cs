// Lists users through the gateway. Holds the name and secret of a [client] of the gateway, and nothing of Genesys Cloud.
// dotnet add package PureCloudPlatform.Client.V2

using PureCloudPlatform.Client.V2.Api;
using PureCloudPlatform.Client.V2.Client;
using PureCloudPlatform.Client.V2.Extensions;

var client = Configuration.Default.ApiClient;
client.setBasePath("http://localhost:8080");

var login = client.PostToken(
    Environment.GetEnvironmentVariable("GATEWAY_CLIENT"),
    Environment.GetEnvironmentVariable("GATEWAY_SECRET"));
Configuration.Default.AccessToken = login.AccessToken;

var users = new UsersApi().GetUsers(pageSize: 5);
Console.WriteLine($"{users.Total} users");
