# The story of story.txt, and what only Tcl can do wrong.
package require psm

lassign $argv story prefix
set count 0

proc result {ok what {why ""}} {
    incr ::count
    puts [expr {$ok ? "ok $::count - $what" : "not ok $::count - $what: $why"}]
}

proc value {word} {
    switch -regexp -matchvar m -- $word {
        {^b:(.*)$} { return [binary decode hex [lindex $m 1]] }
        {^[ft]:(.*)$} { return [lindex $m 1] }
        {^n:(.*)$} { return $::prefix[lindex $m 1] }
        {^(true|false)$} { return [expr {$word eq "true"}] }
        {^\$(\w+?)(([-+]\d+)?)$} { return [expr "$::numbers([lindex $m 1]) [lindex $m 2]"] }
    }
    return [expr {$word}]
}

proc step {verb args} {
    if {$verb eq "fails"} {
        set rest [lassign $args code]
        if {![catch {step {*}$rest} text options]} { error "did not fail" }
        if {$code ne "*" && [dict get $options -errorcode] ne "PSM $code"} {
            error "failed with $text, [dict get $options -errorcode]"
        }
        return
    }
    set rest [lassign $args what]
    if {$verb in {new open}} {
        set ::segments($what) [[expr {$verb eq "new" ? "new_Segment" : "Segment_open"}] \
            {*}[lmap word $rest {value $word}]]
        return
    }
    set target $what
    if {$verb ne "do"} { set rest [lassign $rest target] }
    lassign [split $target .] name method
    set got [Segment_$method $::segments($name) {*}[lmap word $rest {value $word}]]
    if {$verb eq "let"} { set ::numbers($what) $got }
    if {$verb ne "is"} return
    set wanted [value $what]
    if {[string match b:* $what] ? $got ne $wanted : $got != $wanted} { error "got $got" }
}

set lines [open $story]
while {[gets $lines line] >= 0} {
    if {[regexp {^(#|\s*$)} $line]} continue
    result [expr {![catch {step {*}$line} why]}] $line $why
}

# ---- What only Tcl can do wrong

Segment own ${prefix}own 1048576
set block [own alloc 64]
proc refused {what script} { result [catch {uplevel #0 $script}] "refused: $what" "it was not" }
refused "text as a size" {own alloc many}
refused "a fraction as a size" {own alloc 1.5}
refused "a number beyond 64 bits" {own pokeU64 $block 0x10000000000000000}
refused "too few arguments" {own alloc}
refused "too many arguments" {own alloc 1 2}
refused "characters that are no bytes" {own write $block "\u263a"}
refused "a number as self" {Segment_alloc 12345 1}
refused "a forged ticket" {Segment_alloc _1000200000000000_p_Segment 1}
refused "a null ticket" {Segment_alloc NULL 1}
refused "a method that is none" {own nothing}
own write $block [encoding convertto utf-8 "\u263a"]
result [expr {[encoding convertfrom utf-8 [own read $block 3]] eq "\u263a"}] "encoded text"
result [expr {[lastError] eq ""}] "no lastError after success"
result [regexp {^\d+\.\d+\.\d+$} [libraryVersion]] "libraryVersion"
result [expr {[lrange [own members] 0 1] eq [list [own memberId] [pid]]}] members
set ticket [own cget -this]
rename own ""
refused "a deleted object's ticket" {Segment_alloc $ticket 1}
refused "a deleted object's ticket, deleted again and used" {delete_Segment $ticket; Segment_size $ticket}
puts "1..$count"
