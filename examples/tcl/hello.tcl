# A record that any language reads, and frees: see ../README.md.
#
#   hello write NAME   allocate a record and a text, and wait for the end of the standard input
#   hello read NAME    check them, free both
#   hello churn NAME   allocate and free until the standard input ends
package require psm

set MAGIC 0x50534d2d48454c4f
set TEXT [encoding convertto utf-8 "hello from tcl"]

proc check {what holds} { if {!$holds} { error "wrong: $what" } }

proc write_record {} {
    set text [segment alloc [string length $::TEXT]]
    segment write $text $::TEXT
    set record [segment calloc 1 64]
    segment pokeU64 $record $::MAGIC
    segment pokeU64 [expr {$record + 8}] $text
    segment pokeU64 [expr {$record + 16}] [string length $::TEXT]
    segment pokeU64 [expr {$record + 24}] $record
    segment pokeI64 [expr {$record + 32}] -42
    segment pokeF64 [expr {$record + 40}] 2.5
    segment setUser $record ;# last: now others find it
    puts "wrote $record"
    read stdin
}

proc read_record {} {
    set record [segment root]
    check magic [expr {[segment peekU64 $record] == $::MAGIC}]
    check "its own address" [expr {[segment peekU64 [expr {$record + 24}]] == $record}]
    check offset [expr {[segment address [segment offset $record]] == $record}]
    check integer [expr {[segment peekI64 [expr {$record + 32}]] == -42}]
    check double [expr {[segment peekF64 [expr {$record + 40}]] == 2.5}]
    check zeros [expr {[segment read [expr {$record + 48}] 16] eq [string repeat "\0" 16]}]
    set where [segment peekU64 [expr {$record + 8}]]
    set length [segment peekU64 [expr {$record + 16}]]
    set text [encoding convertfrom utf-8 [segment read $where $length]]
    check text [regexp {^hello from \w+$} $text]
    segment free $where
    segment free $record
    segment setUser 0
    segment check
    check blocks [expr {[segment stat blocks] == 0}]
    puts "read $record $text"
}

proc give_back {block} {
    check "a block" [expr {[segment peekU64 $block] == $block}]
    segment free $block
}

proc churn {} {
    set kept {}
    fconfigure stdin -blocking 0
    for {set turn 1} {1} {incr turn} {
        set block [segment alloc [expr {16 + int(rand() * 497)}]]
        segment pokeU64 $block $block
        lappend kept $block
        if {[llength $kept] > 32} {
            give_back [lindex $kept 0]
            set kept [lrange $kept 1 end]
        }
        if {$turn % 1000 == 0} {
            puts "turn $turn"
            read stdin
            if {[eof stdin]} break
        }
    }
    foreach block $kept { give_back $block }
}

lassign $argv role name
set roles {write write_record read read_record churn churn}
if {$argc != 2 || ![dict exists $roles $role]} {
    puts stderr "usage: hello write|read|churn NAME"
    exit 1
}
fconfigure stdout -buffering line
if {[catch {
    if {$role eq "read"} {
        Segment segment -this [Segment_open $name 0 $OPEN_JOIN 0 0]
    } else {
        Segment segment $name [expr {4 << 20}]
    }
    [dict get $roles $role]
    segment close
} why]} {
    puts stderr "hello: $why"
    exit 1
}
