;; The story of story.txt, and what only Guile can do wrong.
(use-modules (psm) (rnrs bytevectors) (ice-9 rdelim) (ice-9 regex) (ice-9 match) (srfi srfi-13))

(define story (cadr (command-line)))
(define prefix (caddr (command-line)))
(define segments (make-hash-table))
(define numbers (make-hash-table))
(define count 0)

(define (result ok what why)
  (set! count (+ count 1))
  (if ok
      (format #t "ok ~a - ~a~%" count what)
      (format #t "not ok ~a - ~a: ~a~%" count what why)))

(define (number word)
  (let* ((negative (string-prefix? "-" word))
         (digits (string-trim word (char-set #\- #\+)))
         (n (if (string-prefix? "0x" digits)
                (string->number (substring digits 2) 16)
                (string->number digits))))
    (if negative (- n) n)))

(define (bytes hex)
  (u8-list->bytevector
   (let loop ((at 0))
     (if (= at (string-length hex))
         '()
         (cons (string->number (substring hex at (+ at 2)) 16) (loop (+ at 2)))))))

(define (value word)
  (define rest (if (> (string-length word) 1) (substring word 2) ""))
  (cond ((string-prefix? "b:" word) (bytes rest))
        ((string-prefix? "f:" word) (exact->inexact (string->number rest)))
        ((string-prefix? "t:" word) rest)
        ((string-prefix? "n:" word) (string-append prefix rest))
        ((string=? word "true") #t)
        ((string=? word "false") #f)
        ((string-prefix? "$" word)
         (let ((m (string-match "^\\$([a-z0-9A-Z]+)(.*)$" word)))
           (+ (hash-ref numbers (match:substring m 1))
              (if (string-null? (match:substring m 2)) 0 (number (match:substring m 2))))))
        (else (number word))))

(define (method name)
  (module-ref (resolve-module '(psm)) (string->symbol name)))

(define (call target words)
  (match (string-split target #\.)
    ((name verb)
     (apply (method (string-append "Segment-" verb)) (hash-ref segments name) (map value words)))))

(define (same? got wanted)
  (if (and (number? got) (number? wanted)) (= got wanted) (equal? got wanted)))

(define (fails code words)
  (let ((failure (catch #t
                   (lambda () (step words) #f)
                   (lambda (key . arguments)
                     (if (eq? key 'psm-error) (car (list-ref arguments 3)) "*")))))
    (cond ((not failure) (error "did not fail"))
          ((not (or (string=? code "*") (string=? code failure)))
           (error "failed with" failure)))))

(define (step words)
  (match words
    (("fails" code . rest) (fails code rest))
    (("new" name . rest) (hash-set! segments name (apply new-Segment (map value rest))))
    (("open" name . rest) (hash-set! segments name (apply Segment-open (map value rest))))
    (("do" target . rest) (call target rest))
    (("let" name target . rest) (hash-set! numbers name (call target rest)))
    (("is" wanted target . rest)
     (let ((got (call target rest)))
       (if (not (same? got (value wanted))) (error "got" got))))))

(define (play line)
  (let ((why (catch #t
               (lambda () (step (string-tokenize line)) #f)
               (lambda failure failure))))
    (result (not why) line why)))

(call-with-input-file story
  (lambda (port)
    (let loop ((line (read-line port)))
      (unless (eof-object? line)
        (unless (or (string-null? line) (string-prefix? "#" line)) (play line))
        (loop (read-line port))))))

;; ---- What only Guile can do wrong

(define s (new-Segment (string-append prefix "own") 1048576))
(define block (Segment-alloc s 64))

(define (refused what thunk)
  (result (catch #t (lambda () (thunk) #f) (lambda _ #t))
          (string-append "refused: " what) "it was not"))

(refused "text as a size" (lambda () (Segment-alloc s "16")))
(refused "a fraction as a size" (lambda () (Segment-alloc s 1.5)))
(refused "a negative size" (lambda () (Segment-alloc s -1)))
(refused "a number beyond 64 bits" (lambda () (Segment-pokeU64 s block (expt 2 64))))
(refused "too few arguments" (lambda () (Segment-alloc s)))
(refused "too many arguments" (lambda () (Segment-alloc s 1 2)))
(refused "text as bytes" (lambda () (Segment-write s block "text")))
(refused "a number as self" (lambda () (Segment-alloc 12345 1)))
(refused "a list as self" (lambda () (Segment-alloc '(1) 1)))
(refused "a port as self" (lambda () (Segment-alloc (current-output-port) 1)))
(refused "a number as a name" (lambda () (new-Segment 5 1048576)))
(result (string=? (lastError) "") "no lastError after success" "")
(result (string-match "^[0-9]+\\.[0-9]+\\.[0-9]+$" (libraryVersion)) "libraryVersion" "")
(result (string-prefix? (format #f "~a ~a " (Segment-memberId s) (getpid)) (Segment-members s))
        "members" (Segment-members s))
(delete-Segment s)
(refused "a deleted object" (lambda () (Segment-alloc s 1)))
(format #t "1..~a~%" count)
