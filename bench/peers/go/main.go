// The Go peer: httputil.ReverseProxy over the transport of golang.org/x/oauth2 with client credentials, and one JSON
// line a request. Built by the bench where Go and the package are installed.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

type line struct {
	Time   time.Time `json:"time"`
	Level  string    `json:"level"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Status int       `json:"status"`
	Millis float64   `json:"durationMs"`
	Peer   string    `json:"peer"`
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Flush() {
	if flusher, ok := r.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

func main() {
	listen, upstream, caFile := os.Args[1], os.Args[2], os.Args[3]
	origin, err := url.Parse(upstream)
	if err != nil {
		log.Fatal(err)
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	base := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(0)},
		MaxIdleConnsPerHost: 1024,
		IdleConnTimeout:     90 * time.Second,
	}
	credentials := clientcredentials.Config{
		ClientID:     "bench",
		ClientSecret: "bench-secret",
		TokenURL:     upstream + "/oauth/token",
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: base})
	proxy := httputil.NewSingleHostReverseProxy(origin)
	direct := proxy.Director
	proxy.Director = func(r *http.Request) {
		direct(r)
		r.Host = origin.Host
	}
	proxy.Transport = &oauth2.Transport{Source: credentials.TokenSource(ctx), Base: base}
	encoder := json.NewEncoder(os.Stdout)
	log.Fatal(http.ListenAndServe(listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		recorded := &recorder{w, http.StatusOK}
		method, path, peer := r.Method, r.URL.Path, r.RemoteAddr
		proxy.ServeHTTP(recorded, r)
		encoder.Encode(line{at, "info", method, path, recorded.status, float64(time.Since(at).Microseconds()) / 1000, peer})
	})))
}
