// Lists users through the gateway. Holds the name and secret of a [client] of it, and nothing of Genesys Cloud.
// Run: GATEWAY_CLIENT=crm GATEWAY_SECRET=... mvn -q compile exec:java

import com.mypurecloud.sdk.v2.ApiClient;
import com.mypurecloud.sdk.v2.Configuration;
import com.mypurecloud.sdk.v2.api.UsersApi;
import com.mypurecloud.sdk.v2.api.request.GetUsersRequest;

public final class ListUsers {
  public static void main(String[] args) throws Exception {
    int port = Integer.parseInt(setting("GATEWAY_PORT", "8080"));
    // Logins and calls go to the gateway. withBasePath alone would leave the logins where they were.
    ApiClient client = ApiClient.Builder.standard()
        .withGateway(setting("GATEWAY_HOST", "localhost"), "http", port, "", "")
        .build();
    client.authorizeClientCredentials(setting("GATEWAY_CLIENT", "local"), setting("GATEWAY_SECRET", "local"));
    Configuration.setDefaultApiClient(client);

    var users = new UsersApi().getUsers(GetUsersRequest.builder().withPageSize(5).build());
    System.out.println(users.getTotal() + " users");
  }

  private static String setting(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }
}
