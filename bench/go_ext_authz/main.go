// A peer to compare cellway with: an ext_authz server that holds all owners in a map in memory.
//
// It answers over HTTP and over gRPC with the cell of the tenant in /t/<tenant>/…, in the header
// x-cell, and with 404 for a name that it does not know. Its names are tenant-0, tenant-1, …, and
// the cell of number n is cell-<n mod cells + 1>, as in the benchmark's topology.
//
//	go_ext_authz TENANTS CELLS     prints the ports of HTTP and gRPC, and serves until it is killed
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	kind "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

const header = "x-cell"

type owners map[string]string

func newOwners(tenants, cells int) owners {
	all := make(owners, tenants)
	for number := range tenants {
		all[fmt.Sprintf("tenant-%d", number)] = fmt.Sprintf("cell-%d", number%cells+1)
	}
	return all
}

// of returns the cell of the tenant in a path.
func (all owners) of(path string) (string, bool) {
	rest, found := strings.CutPrefix(path, "/t/")
	if !found {
		return "", false
	}
	name, _, _ := strings.Cut(rest, "/")
	cell, known := all[strings.ToLower(name)]
	return cell, known
}

func (all owners) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	cell, known := all.of(request.URL.Path)
	if !known {
		answer.WriteHeader(http.StatusNotFound)
		return
	}
	answer.Header().Set(header, cell)
}

type service struct {
	auth.UnimplementedAuthorizationServer
	all owners
}

func (served service) Check(_ context.Context, request *auth.CheckRequest) (*auth.CheckResponse, error) {
	cell, known := served.all.of(request.GetAttributes().GetRequest().GetHttp().GetPath())
	if !known {
		denied := &auth.DeniedHttpResponse{Status: &kind.HttpStatus{Code: kind.StatusCode_NotFound}}
		return &auth.CheckResponse{
			Status:       &status.Status{Code: int32(codes.NotFound)},
			HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: denied},
		}, nil
	}
	named := &core.HeaderValueOption{Header: &core.HeaderValue{Key: header, Value: cell}}
	ok := &auth.OkHttpResponse{Headers: []*core.HeaderValueOption{named}}
	return &auth.CheckResponse{
		Status:       &status.Status{Code: int32(codes.OK)},
		HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok},
	}, nil
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: go_ext_authz TENANTS CELLS")
	}
	tenants, first := strconv.Atoi(os.Args[1])
	cells, second := strconv.Atoi(os.Args[2])
	if first != nil || second != nil {
		log.Fatal("TENANTS and CELLS are numbers")
	}
	all := newOwners(tenants, cells)
	overHTTP, overGRPC := listen(), listen()
	server := grpc.NewServer()
	auth.RegisterAuthorizationServer(server, service{all: all})
	go func() { log.Fatal(server.Serve(overGRPC)) }()
	fmt.Println(overHTTP.Addr().(*net.TCPAddr).Port, overGRPC.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(overHTTP, all))
}
