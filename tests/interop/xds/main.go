// Command xds is a gRPC client of grpc-go's: for each line that it reads it calls xds:///greeter.
//
// It is told to wait for a connection ("wait") or not, and says who answered, or the status.
// GRPC_XDS_BOOTSTRAP_CONFIG says where the control plane is.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds"
)

const (
	target = "xds:///greeter"
	method = "/cellway.test.Greeter/Who"
	limit  = 10 * time.Second
)

// plain is a codec that leaves bytes as they are.
type plain struct{}

func (plain) Name() string { return "proto" }

func (plain) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (plain) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func call(connection *grpc.ClientConn, wait bool) string {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var question, answer []byte
	err := connection.Invoke(ctx, method, &question, &answer, grpc.ForceCodec(plain{}), grpc.WaitForReady(wait))
	if err != nil {
		return strings.ToUpper(status.Code(err).String())
	}
	return string(answer)
}

func main() {
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(call(connection, lines.Text() == "wait"))
	}
}
