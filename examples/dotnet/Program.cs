// Lists users through the gateway. Holds the name and secret of a [client] of the gateway, and nothing of Genesys Cloud.
// Run: GATEWAY_CLIENT=crm GATEWAY_SECRET=... dotnet run

using PureCloudPlatform.Client.V2.Api;
using PureCloudPlatform.Client.V2.Client;
using PureCloudPlatform.Client.V2.Extensions;

static string Setting(string name, string otherwise) => Environment.GetEnvironmentVariable(name) ?? otherwise;

// Before the first call, and on this client: another one's setting is not asked for logins.
var client = Configuration.Default.ApiClient;
client.setBasePath(Setting("GATEWAY", "http://localhost:8080"));

var login = client.PostToken(Setting("GATEWAY_CLIENT", "local"), Setting("GATEWAY_SECRET", "local"));
Configuration.Default.AccessToken = login.AccessToken;

var users = new UsersApi().GetUsers(pageSize: 5);
Console.WriteLine($"{users.Total} users");
