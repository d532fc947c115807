// Command search searches from a picture over gRPC: go generate && go run . PICTURE EDIT
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	scot "example.org/search/scotv1"
)

//go:generate ./generate

const serviceConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "scot.v1.SearchService"}, {"service": "scot.v1.IndexService"}],
    "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "1s", "backoffMultiplier": 2.5,
                    "retryableStatusCodes": ["UNAVAILABLE"]}
  }]
}`

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: search PICTURE EDIT")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(status.Code(err), " ", status.Convert(err).Message())
	}
}

func run(picture, edit string) error {
	address := os.Getenv("SCOT_ADDRESS")
	if address == "" {
		address = "localhost:9000"
	}
	connection, err := grpc.NewClient("dns:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := scot.NewSearchServiceClient(connection)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if key := os.Getenv("SCOT_API_KEY"); key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	image, err := os.ReadFile(picture)
	if err != nil {
		return err
	}
	request := &scot.ComposeSearchRequest{
		Reference: &scot.Reference{Source: &scot.Reference_Image{Image: image}},
		Edits:     []*scot.Edit{{Text: edit}},
		Filter: &scot.Filter{Must: []*scot.Condition{{
			Field: "price",
			Test:  &scot.Condition_Range{Range: &scot.Range{Lte: proto.Float64(30)}},
		}}},
		Limit: 5,
	}
	response, err := client.ComposeSearch(ctx, request)
	if err != nil {
		return err
	}
	for _, hit := range response.GetHits() {
		fmt.Printf("%s %.3f %v\n", hit.GetItemId(), hit.GetScore(), hit.GetPayload().AsMap()["caption"])
	}

	// Many queries on one stream: the answers come in order; a refused query is answered with its error.
	stream, err := client.ComposeSearchStream(ctx)
	if err != nil {
		return err
	}
	for _, each := range []*scot.ComposeSearchRequest{request, {Edits: []*scot.Edit{{Text: ""}}}} {
		if err := stream.Send(each); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if refused := answer.GetError(); refused != nil {
			fmt.Println(refused.GetMessage())
			continue
		}
		fmt.Println(answer.GetHits()[0].GetItemId())
	}
}
