// Kafka to Cassandra, as a Go service is written for it: every record is a write of its own, many under way at once.
//
// A fixed number of writers take records from one channel; each partition's tracker marks an offset for commit only
// when all writes before it are acknowledged. A write is tried again until it succeeds: at least once.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/goccy/go-json"
	"github.com/twmb/franz-go/pkg/kgo"
)

const columns = "id, first_name, last_name, gender, address, post_code, email, username, dob, registered_date, phone, picture"

type profile struct {
	ID             string    `json:"id"`
	FirstName      string    `json:"first_name"`
	LastName       string    `json:"last_name"`
	Gender         string    `json:"gender"`
	Address        string    `json:"address"`
	PostCode       string    `json:"post_code"`
	Email          string    `json:"email"`
	Username       string    `json:"username"`
	Dob            time.Time `json:"dob"`
	RegisteredDate time.Time `json:"registered_date"`
	Phone          string    `json:"phone"`
	Picture        string    `json:"picture"`
}

// tracker knows of one partition which records are under way, in order.
type tracker struct {
	mutex sync.Mutex
	// Records handed out, oldest first, and which of them are written.
	records []*kgo.Record
	written []bool
	// Records before the first of the slices.
	gone int
}

// add enters a record and returns its number.
func (t *tracker) add(record *kgo.Record) int {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.records = append(t.records, record)
	t.written = append(t.written, false)
	return t.gone + len(t.records) - 1
}

// done notes a write and returns the last record of the written prefix, if that has grown.
func (t *tracker) done(number int) *kgo.Record {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.written[number-t.gone] = true
	prefix := 0
	for prefix < len(t.written) && t.written[prefix] {
		prefix++
	}
	if prefix == 0 {
		return nil
	}
	last := t.records[prefix-1]
	t.records, t.written, t.gone = t.records[prefix:], t.written[prefix:], t.gone+prefix
	return last
}

type job struct {
	record  *kgo.Record
	tracker *tracker
	number  int
}

type sink struct {
	client    *kgo.Client
	session   *gocql.Session
	statement string
	jobs      chan job
	trackers  map[int32]*tracker
	underWay  sync.WaitGroup
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	concurrency, err := strconv.Atoi(os.Getenv("BENCH_CONCURRENCY"))
	check(err)

	s := &sink{session: connect(), jobs: make(chan job, concurrency), trackers: map[int32]*tracker{}}
	defer s.session.Close()
	s.statement = "INSERT INTO " + os.Getenv("BENCH_TABLE") + " (" + columns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

	s.client, err = kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("BENCH_BROKERS")),
		kgo.ConsumeTopics(os.Getenv("BENCH_TOPIC")),
		kgo.ConsumerGroup(os.Getenv("BENCH_GROUP")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.BlockRebalanceOnPoll(),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(time.Second),
		kgo.FetchMaxBytes(8<<20),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.OnPartitionsRevoked(s.revoked),
		kgo.OnPartitionsLost(s.revoked),
	)
	check(err)

	var writers sync.WaitGroup
	for range concurrency {
		writers.Go(s.write)
	}
	s.consume(ctx)
	s.underWay.Wait()
	close(s.jobs)
	writers.Wait()
	check(s.client.CommitMarkedOffsets(context.Background()))
	s.client.CloseAllowingRebalance()
}

func connect() *gocql.Session {
	cluster := gocql.NewCluster(os.Getenv("BENCH_CASSANDRA"))
	cluster.Keyspace = os.Getenv("BENCH_KEYSPACE")
	cluster.Consistency = gocql.LocalOne
	cluster.NumConns = 4
	cluster.DefaultIdempotence = true
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy(os.Getenv("BENCH_DATACENTER")))
	session, err := cluster.CreateSession()
	check(err)
	return session
}

// consume hands out records until it is told to stop. Rebalances wait while a poll's records are handed out.
func (s *sink) consume(ctx context.Context) {
	for {
		fetches := s.client.PollRecords(ctx, 2_000)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			log.Printf("%s/%d: %v", topic, partition, err)
		})
		fetches.EachPartition(func(fetched kgo.FetchTopicPartition) {
			t := s.trackers[fetched.Partition]
			if t == nil {
				t = &tracker{}
				s.trackers[fetched.Partition] = t
			}
			for _, record := range fetched.Records {
				s.underWay.Add(1)
				s.jobs <- job{record, t, t.add(record)}
			}
		})
		s.client.AllowRebalance()
	}
}

// revoked waits for what is under way and commits it before another member begins where it ends.
func (s *sink) revoked(ctx context.Context, client *kgo.Client, partitions map[string][]int32) {
	s.underWay.Wait()
	if err := client.CommitMarkedOffsets(ctx); err != nil {
		log.Printf("cannot commit: %v", err)
	}
	for _, revoked := range partitions {
		for _, partition := range revoked {
			delete(s.trackers, partition)
		}
	}
}

// write takes records and writes each until it is written.
func (s *sink) write() {
	for job := range s.jobs {
		var p profile
		// What is no profile would go to a dead-letter topic; the benchmark has none.
		check(json.Unmarshal(job.record.Value, &p))
		id, err := gocql.ParseUUID(p.ID)
		check(err)
		for {
			err := s.session.Query(s.statement, id, p.FirstName, p.LastName, p.Gender, p.Address, p.PostCode, p.Email,
				p.Username, p.Dob, p.RegisteredDate, p.Phone, p.Picture).Exec()
			if err == nil {
				break
			}
			log.Printf("cannot write: %v", err)
			time.Sleep(100 * time.Millisecond)
		}
		if last := job.tracker.done(job.number); last != nil {
			s.client.MarkCommitRecords(last)
		}
		s.underWay.Done()
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
