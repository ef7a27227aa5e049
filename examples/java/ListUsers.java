// Lists users through the gateway. Holds the name and secret of a [client] of the gateway, and nothing of Genesys Cloud.
// Needs com.mypurecloud:platform-client-v2. Run with -Dhttp.nonProxyHosts="localhost|127.*|[::1]" behind a corporate proxy.

import com.mypurecloud.sdk.v2.ApiClient;
import com.mypurecloud.sdk.v2.Configuration;
import com.mypurecloud.sdk.v2.api.UsersApi;
import com.mypurecloud.sdk.v2.api.request.GetUsersRequest;

public final class ListUsers {
  public static void main(String[] args) throws Exception {
    // withGateway sends logins and calls to the gateway. (withBasePath alone sends only the calls there: then use withAccessToken("local").)
    ApiClient client = ApiClient.Builder.standard().withGateway("localhost", "http", 8080, "", "").build();
    client.authorizeClientCredentials(System.getenv("GATEWAY_CLIENT"), System.getenv("GATEWAY_SECRET"));
    Configuration.setDefaultApiClient(client);

    var users = new UsersApi().getUsers(GetUsersRequest.builder().withPageSize(5).build());
    System.out.println(users.getTotal() + " users");
  }
}
