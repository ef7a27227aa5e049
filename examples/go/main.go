// Lists users through the gateway. Holds the name and secret of a [client] of the gateway, and nothing of Genesys Cloud.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/mypurecloud/platform-client-sdk-go/v188/platformclientv2"
)

func main() {
	config := platformclientv2.GetDefaultConfiguration()
	// Logins go to the same host. Leave AutomaticTokenRefresh off: the gateway renews.
	config.BasePath = "http://localhost:8080"
	if err := config.AuthorizeClientCredentials(os.Getenv("GATEWAY_CLIENT"), os.Getenv("GATEWAY_SECRET")); err != nil {
		log.Fatal(err)
	}
	users, _, err := platformclientv2.NewUsersApiWithConfig(config).GetUsers(5, 1, nil, nil, "", nil, "", nil, "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*users.Total, "users")
}
