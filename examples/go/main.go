// Lists users through the gateway. Holds the name and secret of a [client] of it, and nothing of Genesys Cloud.
//
//	go mod init example && go mod tidy
//	GATEWAY_CLIENT=crm GATEWAY_SECRET=... go run .
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/mypurecloud/platform-client-sdk-go/v188/platformclientv2"
)

func main() {
	config := platformclientv2.GetDefaultConfiguration()
	// Logins go to the same host. No slash at its end, and AutomaticTokenRefresh stays off: the gateway renews.
	config.BasePath = strings.TrimSuffix(setting("GATEWAY", "http://localhost:8080"), "/")
	err := config.AuthorizeClientCredentials(setting("GATEWAY_CLIENT", "local"), setting("GATEWAY_SECRET", "local"))
	if err != nil {
		log.Fatal(err)
	}
	users, _, err := platformclientv2.NewUsersApiWithConfig(config).GetUsers(5, 1, nil, nil, "", nil, "", nil, "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*users.Total, "users")
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
