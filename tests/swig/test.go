// The story of story.txt, and what only Go can do wrong.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"psm"
)

var (
	segments = map[string]psm.Segment{}
	numbers  = map[string]uint64{}
	prefix   string
	count    int
)

func result(ok bool, what string, why any) {
	count++
	if ok {
		fmt.Printf("ok %d - %s\n", count, what)
	} else {
		fmt.Printf("not ok %d - %s: %v\n", count, what, why)
	}
}

func number(word string) uint64 {
	n, err := strconv.ParseUint(strings.TrimLeft(word, "+-"), 0, 64)
	if err != nil {
		panic(err)
	}
	if word[0] == '-' {
		return -n
	}
	return n
}

func value(word string) any {
	kind, rest, _ := strings.Cut(word, ":")
	switch kind {
	case "b":
		data, _ := hex.DecodeString(rest)
		return data
	case "f":
		f, _ := strconv.ParseFloat(rest, 64)
		return f
	case "t":
		return rest
	case "n":
		return prefix + rest
	case "true", "false":
		return word == "true"
	}
	if word[0] != '$' {
		return number(word)
	}
	at := strings.IndexAny(word, "+-")
	if at < 0 {
		return numbers[word[1:]]
	}
	return numbers[word[1:at]] + number(word[at:])
}

// call calls by reflection; a number becomes what the parameter wants.
func call(function reflect.Value, words []string) any {
	var arguments []reflect.Value
	for i, word := range words {
		arguments = append(arguments, reflect.ValueOf(value(word)).Convert(function.Type().In(i)))
	}
	for _, got := range function.Call(arguments) {
		return got.Interface()
	}
	return nil
}

func same(got, wanted any) bool {
	switch wanted := wanted.(type) {
	case []byte:
		return bytes.Equal(got.([]byte), wanted)
	case uint64:
		return reflect.ValueOf(got).Convert(reflect.TypeOf(wanted)).Uint() == wanted
	}
	return got == wanted
}

func step(words []string) error {
	verb, what := words[0], words[1]
	if verb == "fails" {
		var failure *psm.Error
		err := psm.Try(func() {
			if err := step(words[2:]); err != nil {
				panic(err)
			}
		})
		if errors.As(err, &failure) && (what == "*" || failure.Code == what) {
			return nil
		}
		return fmt.Errorf("failed with %v", err)
	}
	switch verb {
	case "new":
		segments[what] = call(reflect.ValueOf(psm.NewSegment), words[2:]).(psm.Segment)
		return nil
	case "open":
		segments[what] = call(reflect.ValueOf(psm.SegmentOpen), words[2:]).(psm.Segment)
		return nil
	}
	rest := words[1:]
	if verb != "do" {
		rest = words[2:]
	}
	name, method, _ := strings.Cut(rest[0], ".")
	method = strings.ToUpper(method[:1]) + method[1:]
	got := call(reflect.ValueOf(segments[name]).MethodByName(method), rest[1:])
	if verb == "let" {
		numbers[what] = got.(uint64)
	}
	if verb == "is" && !same(got, value(what)) {
		return fmt.Errorf("got %v", got)
	}
	return nil
}

func play(line string) {
	var err error
	if failed := psm.Try(func() { err = step(strings.Fields(line)) }); failed != nil {
		err = failed
	}
	result(err == nil, line, err)
}

// ---- What only Go can do wrong

func refused(what string, calls func()) {
	var failure *psm.Error
	result(errors.As(psm.Try(calls), &failure), "refused: "+what, "it was not")
}

func others() {
	s := psm.NewSegment(prefix+"own", 1048576)
	block := s.Alloc(64)
	s.Write(block, []byte{})
	s.Write(block, nil)
	result(true, "no bytes, and nil for none", "")
	refused("a forged ticket", func() { psm.SwigcptrSegment(0x123450001).Alloc(1) })
	refused("a null ticket", func() { psm.SwigcptrSegment(0).Alloc(1) })
	version := regexp.MustCompile(`^\d+\.\d+\.\d+$`)
	result(version.MatchString(psm.LibraryVersion()), "libraryVersion", "")
	start := fmt.Sprintf("%d %d ", s.MemberId(), os.Getpid())
	result(strings.HasPrefix(s.Members(), start), "members", s.Members())
	func() {
		defer func() { result(recover() == "mine", "other panics pass through Try", "") }()
		psm.Try(func() { panic("mine") })
	}()
	closedByAnother()
	psm.DeleteSegment(s)
	refused("a deleted object", func() { s.Alloc(1) })
	psm.DeleteSegment(s)
	result(true, "deleted twice", "")
}

func closedByAnother() {
	for turn := 0; turn < 50; turn++ {
		shared := psm.NewSegment(prefix+"shared", 1048576)
		var users sync.WaitGroup
		for i := 0; i < 3; i++ {
			users.Add(1)
			go func() {
				defer users.Done()
				err := psm.Try(func() {
					for {
						own := shared.Alloc(100)
						shared.PokeU64(own, own)
						shared.Free(own)
					}
				})
				if err.(*psm.Error).Code != "PSM_E_HANDLE" {
					panic(err)
				}
			}()
		}
		time.Sleep(time.Millisecond)
		shared.Close()
		users.Wait()
	}
	result(true, "closed while other goroutines use it", "")
}

func main() {
	prefix = os.Args[2]
	story, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	for lines := bufio.NewScanner(story); lines.Scan(); {
		line := lines.Text()
		if line != "" && line[0] != '#' {
			play(line)
		}
	}
	others()
	fmt.Printf("1..%d\n", count)
}
