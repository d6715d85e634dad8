// Records pass through a ring of addresses; who takes one frees it: see ../README.md.
//
//	queue produce NAME COUNT   make the ring if there is none, and put records
//	queue consume NAME COUNT   take and check them, and free the ring
//
// Every change under the lock ends with one store, of head or of tail, so the
// death of an owner leaves nothing to repair.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"psm"
)

const (
	magic = 0x50534d2d51554555
	slots = 64

	// Offsets in the ring.
	capacity, head, tail, array, lock = 8, 16, 24, 32, 40
)

// A queue is a ring of addresses in a segment.
type queue struct {
	segment psm.Segment
	ring    uint64
}

func check(what string, holds bool) {
	if !holds {
		fail(errors.New("wrong: " + what))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "queue:", err)
	os.Exit(1)
}

func rest() { time.Sleep(200 * time.Microsecond) }

func payload(i uint64) []byte {
	content := make([]byte, i%200)
	for k := range content {
		content[k] = byte(i + uint64(k))
	}
	return content
}

func sumOf(content []byte) (sum uint64) {
	for _, b := range content {
		sum += uint64(b)
	}
	return sum
}

func makeRing(segment psm.Segment) {
	ring := segment.Calloc(1, 64)
	segment.PokeU64(ring, magic)
	segment.PokeU64(ring+capacity, slots)
	segment.PokeU64(ring+array, segment.Calloc(slots, 8))
	segment.SetUser(ring) // last: now others find it
}

func find(segment psm.Segment) queue {
	q := queue{segment, segment.Root()}
	check("magic", segment.PeekU64(q.ring) == magic)
	return q
}

func (q queue) get(field uint64) uint64        { return q.segment.PeekU64(q.ring + field) }
func (q queue) set(field uint64, value uint64) { q.segment.PokeU64(q.ring+field, value) }
func (q queue) slot(count uint64) uint64       { return q.get(array) + count%slots*8 }

func (q queue) put(record uint64) bool {
	q.segment.LockAt(q.ring + lock)
	defer q.segment.UnlockAt(q.ring + lock)
	at := q.get(head)
	if at-q.get(tail) == slots {
		return false
	}
	q.segment.PokeU64(q.slot(at), record)
	q.set(head, at+1)
	return true
}

func (q queue) take() uint64 {
	q.segment.LockAt(q.ring + lock)
	defer q.segment.UnlockAt(q.ring + lock)
	at := q.get(tail)
	if at == q.get(head) {
		return 0
	}
	record := q.segment.PeekU64(q.slot(at))
	q.set(tail, at+1)
	return record
}

func (q queue) drained() bool {
	return q.segment.User() == 0 || q.get(head) == q.get(tail)
}

func produce(segment psm.Segment, count uint64) {
	var sum uint64
	if segment.User() == 0 {
		makeRing(segment)
	}
	q := find(segment)
	for i := uint64(0); i < count; i++ {
		content := payload(i)
		record := segment.Alloc(16 + uint64(len(content)))
		segment.PokeU64(record, i)
		segment.PokeU64(record+8, uint64(len(content)))
		segment.Write(record+16, content)
		sum += sumOf(content)
		for !q.put(record) {
			rest()
		}
	}
	for !q.drained() {
		rest()
	}
	fmt.Println("produced", count, sum)
}

func consume(segment psm.Segment, count uint64) {
	var sum uint64
	for segment.User() == 0 {
		rest()
	}
	q := find(segment)
	for i := uint64(0); i < count; i++ {
		record := q.take()
		for ; record == 0; record = q.take() {
			rest()
		}
		content := segment.Read(record+16, segment.PeekU64(record+8))
		check("number", segment.PeekU64(record) == i)
		check("bytes", bytes.Equal(content, payload(i)))
		sum += sumOf(content)
		segment.Free(record)
	}
	segment.SetUser(0)
	segment.Free(q.get(array))
	segment.Free(q.ring)
	fmt.Println("consumed", count, sum)
}

func joinWhenThere(name string) (segment psm.Segment) {
	for {
		err := psm.Try(func() { segment = psm.SegmentOpen(name, 0, int64(psm.OPEN_JOIN), 0, 0) })
		if err == nil {
			return segment
		}
		if err.(*psm.Error).Code != "PSM_E_NOT_FOUND" {
			fail(err)
		}
		rest()
	}
}

func run(role, name string, count uint64) {
	if role == "produce" {
		segment := psm.NewSegment(name, 4<<20)
		produce(segment, count)
		segment.Close()
		return
	}
	segment := joinWhenThere(name)
	consume(segment, count)
	segment.Close()
}

func main() {
	if len(os.Args) != 4 || os.Args[1] != "produce" && os.Args[1] != "consume" {
		fmt.Fprintln(os.Stderr, "usage: queue produce|consume NAME COUNT")
		os.Exit(1)
	}
	count, err := strconv.ParseUint(os.Args[3], 10, 64)
	if err == nil {
		err = psm.Try(func() { run(os.Args[1], os.Args[2], count) })
	}
	if err != nil {
		fail(err)
	}
}
