// Drives a Topology Service with GitLab's own Go client module, as its clients do.
//
// Usage: interop HOST:PORT, with cells 1 to 3 (cell-N.example.com, session prefix cell-N).
// Exit status 0 only if every answer is the right one.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	protobuf "google.golang.org/protobuf/proto"

	pb "gitlab.com/gitlab-org/cells/topology-service/clients/go/proto"
	claims "gitlab.com/gitlab-org/cells/topology-service/clients/go/proto/claims/v1"
	types "gitlab.com/gitlab-org/cells/topology-service/clients/go/proto/types/v1"
)

func check(what string, ok bool, detail any) {
	if !ok {
		fmt.Printf("FAILED %s: %v\n", what, detail)
		os.Exit(1)
	}
	fmt.Printf("ok     %s\n", what)
}

func code(err error) codes.Code { return status.Code(err) }

func primaryKey(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

func username(name string, id uint64) *claims.Metadata {
	return &claims.Metadata{
		Bucket:  &claims.Bucket{Type: claims.Bucket_USERNAMES, Value: name},
		Subject: &claims.Subject{Type: claims.Subject_USER, Id: int64(id)},
		Source: &claims.Source{
			Type:              claims.Source_RAILS_TABLE_USERS,
			RailsPrimaryKeyId: primaryKey(id),
		},
	}
}

func main() {
	connection, err := grpc.NewClient(
		os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	check("connect", err == nil, err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	readCells(ctx, connection)
	claimNames(ctx, connection)
	classifyNames(ctx, connection)
}

func readCells(ctx context.Context, connection *grpc.ClientConn) {
	classify := pb.NewClassifyServiceClient(connection)
	cells, err := classify.GetCells(ctx, &pb.GetCellsRequest{})
	check("ClassifyService.GetCells", err == nil && len(cells.GetCells()) == 3, err)
	check("the first cell's address",
		cells.GetCells()[0].GetAddress() == "cell-1.example.com", cells)

	cell := pb.NewCellServiceClient(connection)
	found, err := cell.GetCell(ctx, &pb.GetCellRequest{CellId: 3})
	check("CellService.GetCell", err == nil && found.GetCellInfo().GetId() == 3, err)
	check("its sequence ranges", len(found.GetCellInfo().GetSequenceRanges()) == 2, found)
	_, err = cell.GetCell(ctx, &pb.GetCellRequest{CellId: 99})
	check("an unknown cell is NOT_FOUND", code(err) == codes.NotFound, err)

	ranges, err := pb.NewSequenceServiceClient(connection).GetCells(ctx, &pb.GetCellsRequest{})
	check("SequenceService.GetCells", err == nil && len(ranges.GetCells()) == 3, err)
}

func claimNames(ctx context.Context, connection *grpc.ClientConn) {
	client := claims.NewClaimServiceClient(connection)
	_, err := client.GetCells(ctx, &pb.GetCellsRequest{})
	check("ClaimService.GetCells", err == nil, err)

	request := &claims.BeginUpdateRequest{
		CellId:        2,
		CreateRecords: []*claims.Metadata{username("gopher", 41), username("badger", 42)},
	}
	keyed := metadata.AppendToOutgoingContext(ctx, "idempotency-key", "interop-1")
	begun, err := client.BeginUpdate(keyed, request)
	check("BeginUpdate", err == nil && begun.GetCellId() == 2, err)
	again, err := client.BeginUpdate(keyed, request)
	check("BeginUpdate again with its key gives the same lease",
		err == nil && again.GetLeaseUuid().GetValue() == begun.GetLeaseUuid().GetValue(), err)
	_, err = client.BeginUpdate(ctx, request)
	check("BeginUpdate of taken names is ALREADY_EXISTS", code(err) == codes.AlreadyExists, err)

	leases, err := client.ListLeases(ctx, &claims.ListLeasesRequest{
		CellId: 2, Limit: protobuf.Int32(10)})
	check("ListLeases", err == nil && len(leases.GetLeases()) == 1, err)
	check("the lease's uuid and time",
		leases.GetLeases()[0].GetUuid().GetValue() == begun.GetLeaseUuid().GetValue() &&
			time.Since(leases.GetLeases()[0].GetCreatedAt().AsTime()) < time.Minute, leases)

	commit := &claims.CommitUpdateRequest{CellId: 2, LeaseUuid: begun.GetLeaseUuid()}
	for range 2 {
		_, err = client.CommitUpdate(ctx, commit)
		check("CommitUpdate", err == nil, err)
	}
	_, err = client.RollbackUpdate(ctx, &claims.RollbackUpdateRequest{
		CellId: 2, LeaseUuid: begun.GetLeaseUuid()})
	check("RollbackUpdate after it is FAILED_PRECONDITION",
		code(err) == codes.FailedPrecondition, err)

	gone, err := client.BeginUpdate(ctx, &claims.BeginUpdateRequest{
		CellId: 2, DestroyRecords: []*claims.Metadata{username("badger", 42)}})
	check("BeginUpdate of a destroy", err == nil, err)
	_, err = client.RollbackUpdate(ctx, &claims.RollbackUpdateRequest{
		CellId: 2, LeaseUuid: gone.GetLeaseUuid()})
	check("RollbackUpdate", err == nil, err)

	records, err := client.ListRecords(ctx, &claims.ListRecordsRequest{
		CellId:      2,
		SourceType:  claims.Source_RAILS_TABLE_USERS,
		BucketTypes: []claims.Bucket_Type{claims.Bucket_USERNAMES},
		SourceIdGt:  primaryKey(41),
		SourceIdLte: primaryKey(1000),
	})
	check("ListRecords", err == nil && len(records.GetRecords()) == 1, err)
	record := records.GetRecords()[0]
	check("the record is active, and whose it is",
		record.GetStatus() == claims.Record_ACTIVE && record.GetCellId() == 2 &&
			record.GetMetadata().GetBucket().GetValue() == "badger" &&
			record.GetMetadata().GetSubject().GetId() == 42 && !records.GetTruncated(), record)

	_, err = client.CommitUpdate(ctx, &claims.CommitUpdateRequest{
		CellId: 2, LeaseUuid: &types.UUID{Value: "8b8ba8d5-0b6c-4ba5-8b8e-0c0f3a7b3a11"}})
	check("CommitUpdate of no lease is NOT_FOUND", code(err) == codes.NotFound, err)
}

func classifyNames(ctx context.Context, connection *grpc.ClientConn) {
	client := pb.NewClassifyServiceClient(connection)
	chain := []*types.Claim{
		{Claim: &types.Claim_Route{Route: "nobody"}},
		{Claim: &types.Claim_Username{Username: "gopher"}},
	}
	answer, err := client.Classify(ctx, &pb.ClassifyRequest{Claims: chain})
	check("Classify by a chain of claims",
		err == nil && answer.GetProxy().GetAddress() == "cell-2.example.com", err)
	check("action and matched claim", answer.GetAction() == pb.ClassifyAction_PROXY &&
		answer.GetMatchedClaim().GetUsername() == "gopher", answer)

	answer, err = client.Classify(ctx, &pb.ClassifyRequest{
		Type: pb.ClassifyType_SESSION_PREFIX, Value: "cell-3"})
	check("Classify by session prefix",
		err == nil && answer.GetProxy().GetAddress() == "cell-3.example.com", err)
	_, err = client.Classify(ctx, &pb.ClassifyRequest{Claims: chain[:1]})
	check("Classify of what nobody owns is NOT_FOUND", code(err) == codes.NotFound, err)
	_, err = client.Classify(ctx, &pb.ClassifyRequest{})
	check("Classify of nothing is INVALID_ARGUMENT", code(err) == codes.InvalidArgument, err)
}
