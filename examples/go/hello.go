// A record that any language reads, and frees: see ../README.md.
//
//	hello write NAME   allocate a record and a text, and wait for the end of the standard input
//	hello read NAME    check them, free both
//	hello churn NAME   allocate and free until the standard input ends
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"strings"

	"psm"
)

const (
	magic = 0x50534d2d48454c4f
	text  = "hello from go"
)

func check(what string, holds bool) {
	if !holds {
		fail(errors.New("wrong: " + what))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "hello:", err)
	os.Exit(1)
}

func write(segment psm.Segment) {
	where := segment.Alloc(uint64(len(text)))
	segment.Write(where, []byte(text))
	record := segment.Calloc(1, 64)
	segment.PokeU64(record, magic)
	segment.PokeU64(record+8, where)
	segment.PokeU64(record+16, uint64(len(text)))
	segment.PokeU64(record+24, record)
	segment.PokeI64(record+32, -42)
	segment.PokeF64(record+40, 2.5)
	segment.SetUser(record) // last: now others find it
	fmt.Println("wrote", record)
	io.Copy(io.Discard, os.Stdin)
}

func read(segment psm.Segment) {
	record := segment.Root()
	check("magic", segment.PeekU64(record) == magic)
	check("its own address", segment.PeekU64(record+24) == record)
	check("offset", segment.Address(segment.Offset(record)) == record)
	check("integer", segment.PeekI64(record+32) == -42)
	check("double", segment.PeekF64(record+40) == 2.5)
	check("zeros", bytes.Equal(segment.Read(record+48, 16), make([]byte, 16)))
	where := segment.PeekU64(record + 8)
	found := string(segment.Read(where, segment.PeekU64(record+16)))
	check("text", strings.HasPrefix(found, "hello from "))
	segment.Free(where)
	segment.Free(record)
	segment.SetUser(0)
	segment.Check()
	check("blocks", segment.Stat("blocks") == 0)
	fmt.Println("read", record, found)
}

func churn(segment psm.Segment) {
	ended := make(chan bool)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	var kept []uint64
	giveBack := func() {
		block := kept[0]
		kept = kept[1:]
		check("a block", segment.PeekU64(block) == block)
		segment.Free(block)
	}
	for turn, going := 1, true; going; turn++ {
		block := segment.Alloc(uint64(16 + rand.Intn(497)))
		segment.PokeU64(block, block)
		kept = append(kept, block)
		if len(kept) > 32 {
			giveBack()
		}
		if turn%1000 == 0 {
			fmt.Println("turn", turn)
			select {
			case <-ended:
				going = false
			default:
			}
		}
	}
	for len(kept) > 0 {
		giveBack()
	}
}

func main() {
	roles := map[string]func(psm.Segment){"write": write, "read": read, "churn": churn}
	if len(os.Args) != 3 || roles[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: hello write|read|churn NAME")
		os.Exit(1)
	}
	role, name := os.Args[1], os.Args[2]
	err := psm.Try(func() {
		var segment psm.Segment
		if role == "read" {
			segment = psm.SegmentOpen(name, 0, int64(psm.OPEN_JOIN), 0, 0)
		} else {
			segment = psm.NewSegment(name, 4<<20)
		}
		roles[role](segment)
		segment.Close()
	})
	if err != nil {
		fail(err)
	}
}
