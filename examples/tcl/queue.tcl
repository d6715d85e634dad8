# Records pass through a ring of addresses; who takes one frees it: see ../README.md.
#
#   queue produce NAME COUNT   make the ring if there is none, and put records
#   queue consume NAME COUNT   take and check them, and free the ring
#
# Every change under the lock ends with one store, of head or of tail, so the
# death of an owner leaves nothing to repair.
package require psm

set MAGIC 0x50534d2d51554555
set SLOTS 64

# The ring's fields, by their offsets.
set FIELDS {magic 0 capacity 8 head 16 tail 24 array 32 lock 40}
proc at {ring field} { expr {$ring + [dict get $::FIELDS $field]} }
proc get {ring field} { segment peekU64 [at $ring $field] }
proc set_to {ring field value} { segment pokeU64 [at $ring $field] $value }

proc check {what holds} { if {!$holds} { error "wrong: $what" } }

# The bytes that record i holds, as a list of numbers.
proc payload {i} {
    set bytes {}
    for {set k 0} {$k < $i % 200} {incr k} { lappend bytes [expr {($i + $k) % 256}] }
    return $bytes
}

proc make_ring {} {
    set ring [segment calloc 1 64]
    set_to $ring magic $::MAGIC
    set_to $ring capacity $::SLOTS
    set_to $ring array [segment calloc $::SLOTS 8]
    segment setUser $ring ;# last: now others find it
}

proc slot {ring count} { expr {[get $ring array] + $count % $::SLOTS * 8} }

proc put {ring record} {
    segment lockAt [at $ring lock]
    set head [get $ring head]
    set room [expr {$head - [get $ring tail] < $::SLOTS}]
    if {$room} {
        segment pokeU64 [slot $ring $head] $record
        set_to $ring head [expr {$head + 1}]
    }
    segment unlockAt [at $ring lock]
    return $room
}

proc take {ring} {
    set record 0
    segment lockAt [at $ring lock]
    set tail [get $ring tail]
    if {$tail != [get $ring head]} {
        set record [segment peekU64 [slot $ring $tail]]
        set_to $ring tail [expr {$tail + 1}]
    }
    segment unlockAt [at $ring lock]
    return $record
}

proc drained {} {
    set ring [segment user]
    expr {$ring == 0 || [get $ring head] == [get $ring tail]}
}

proc produce {count} {
    set sum 0
    if {[segment user] == 0} make_ring
    set ring [segment root]
    check magic [expr {[get $ring magic] == $::MAGIC}]
    for {set i 0} {$i < $count} {incr i} {
        set bytes [payload $i]
        set record [segment alloc [expr {16 + [llength $bytes]}]]
        segment pokeU64 $record $i
        segment pokeU64 [expr {$record + 8}] [llength $bytes]
        segment write [expr {$record + 16}] [binary format c* $bytes]
        incr sum [::tcl::mathop::+ {*}$bytes]
        while {![put $ring $record]} { after 1 }
    }
    while {![drained]} { after 1 }
    puts "produced $count $sum"
}

proc consume {count} {
    set sum 0
    while {[segment user] == 0} { after 1 }
    set ring [segment root]
    check magic [expr {[get $ring magic] == $::MAGIC}]
    for {set i 0} {$i < $count} {incr i} {
        while {[set record [take $ring]] == 0} { after 1 }
        binary scan [segment read [expr {$record + 16}] [segment peekU64 [expr {$record + 8}]]] cu* bytes
        check number [expr {[segment peekU64 $record] == $i}]
        check bytes [expr {$bytes eq [payload $i]}]
        incr sum [::tcl::mathop::+ {*}$bytes]
        segment free $record
    }
    segment setUser 0
    segment free [get $ring array]
    segment free $ring
    puts "consumed $count $sum"
}

proc join_when_there {name} {
    while {[catch {Segment_open $name 0 $::OPEN_JOIN 0 0} found options]} {
        if {[dict get $options -errorcode] ne "PSM PSM_E_NOT_FOUND"} { error $found }
        after 1
    }
    Segment segment -this $found
}

lassign $argv role name count
if {$argc != 3 || $role ni {produce consume}} {
    puts stderr "usage: queue produce|consume NAME COUNT"
    exit 1
}
if {[catch {
    if {$role eq "produce"} {
        Segment segment $name [expr {4 << 20}]
    } else {
        join_when_there $name
    }
    $role $count
    segment close
} why]} {
    puts stderr "queue: $why"
    exit 1
}
