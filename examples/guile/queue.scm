;; Records pass through a ring of addresses; who takes one frees it: see ../README.md.
;;
;;   queue produce NAME COUNT   make the ring if there is none, and put records
;;   queue consume NAME COUNT   take and check them, and free the ring
;;
;; Every change under the lock ends with one store, of head or of tail, so the
;; death of an owner leaves nothing to repair.
(use-modules (psm) (rnrs bytevectors) (ice-9 match) (srfi srfi-1))

(define magic #x50534d2d51554555)
(define slots 64)
(define capacity 8) ; and the other fields: offsets in the ring
(define head 16)
(define tail 24)
(define array 32)
(define lock 40)

(define (check what holds)
  (unless holds (error (string-append "wrong: " what))))

(define (rest) (usleep 500))

(define (payload i)
  (u8-list->bytevector (map (lambda (k) (modulo (+ i k) 256)) (iota (modulo i 200)))))

(define (sum-of bytes) (apply + (bytevector->u8-list bytes)))

(define (make-ring segment)
  (let ((ring (Segment-calloc segment 1 64)))
    (Segment-pokeU64 segment ring magic)
    (Segment-pokeU64 segment (+ ring capacity) slots)
    (Segment-pokeU64 segment (+ ring array) (Segment-calloc segment slots 8))
    (Segment-setUser segment ring))) ; last: now others find it

(define (ring-of segment)
  (let ((ring (Segment-root segment)))
    (check "magic" (= (Segment-peekU64 segment ring) magic))
    ring))

(define (get segment ring field) (Segment-peekU64 segment (+ ring field)))

(define (slot segment ring count)
  (+ (get segment ring array) (* 8 (modulo count slots))))

(define (locked segment ring thunk)
  (Segment-lockAt segment (+ ring lock))
  (let ((answer (thunk)))
    (Segment-unlockAt segment (+ ring lock))
    answer))

(define (put segment ring record)
  (locked segment ring
    (lambda ()
      (let* ((at (get segment ring head))
             (room (< (- at (get segment ring tail)) slots)))
        (when room
          (Segment-pokeU64 segment (slot segment ring at) record)
          (Segment-pokeU64 segment (+ ring head) (+ at 1)))
        room))))

(define (take segment ring)
  (locked segment ring
    (lambda ()
      (let* ((at (get segment ring tail))
             (any (not (= at (get segment ring head))))
             (record (and any (Segment-peekU64 segment (slot segment ring at)))))
        (when any (Segment-pokeU64 segment (+ ring tail) (+ at 1)))
        record))))

(define (drained? segment)
  (let ((ring (Segment-user segment)))
    (or (zero? ring) (= (get segment ring head) (get segment ring tail)))))

(define (produce segment count)
  (when (zero? (Segment-user segment)) (make-ring segment))
  (let ((ring (ring-of segment)) (sum 0))
    (do ((i 0 (+ i 1))) ((= i count))
      (let* ((bytes (payload i))
             (record (Segment-alloc segment (+ 16 (bytevector-length bytes)))))
        (Segment-pokeU64 segment record i)
        (Segment-pokeU64 segment (+ record 8) (bytevector-length bytes))
        (Segment-write segment (+ record 16) bytes)
        (set! sum (+ sum (sum-of bytes)))
        (while (not (put segment ring record)) (rest))))
    (while (not (drained? segment)) (rest))
    (format #t "produced ~a ~a\n" count sum)))

(define (take-checked segment ring i)
  (let ((record (take segment ring)))
    (if (not record)
        (begin (rest) (take-checked segment ring i))
        (let ((bytes (Segment-read segment (+ record 16) (Segment-peekU64 segment (+ record 8)))))
          (check "number" (= (Segment-peekU64 segment record) i))
          (check "bytes" (equal? bytes (payload i)))
          (Segment-free segment record)
          (sum-of bytes)))))

(define (consume segment count)
  (while (zero? (Segment-user segment)) (rest))
  (let ((ring (ring-of segment)) (sum 0))
    (do ((i 0 (+ i 1))) ((= i count))
      (set! sum (+ sum (take-checked segment ring i))))
    (let ((blocks (get segment ring array)))
      (Segment-setUser segment 0)
      (Segment-free segment blocks)
      (Segment-free segment ring))
    (format #t "consumed ~a ~a\n" count sum)))

(define (join-when-there name)
  (or (catch 'psm-error
        (lambda () (Segment-open name 0 (OPEN-JOIN) 0 0))
        (lambda (key subr message arguments code)
          (unless (equal? code '("PSM_E_NOT_FOUND"))
            (scm-error key subr message arguments code))
          #f))
      (begin (rest) (join-when-there name))))

(define (main role opened name count)
  (catch #t
    (lambda ()
      (let ((segment (opened name)))
        (role segment (string->number count))
        (Segment-close segment)))
    (lambda (key subr message arguments . more)
      (format (current-error-port) "queue: ~a ~a\n" message (or arguments ""))
      (exit 1))))

(match (command-line)
  ((_ "produce" name count) (main produce (lambda (name) (new-Segment name (ash 4 20))) name count))
  ((_ "consume" name count) (main consume join-when-there name count))
  (_ (format (current-error-port) "usage: queue produce|consume NAME COUNT\n") (exit 1)))
