/* How each language learns that a call failed: by its exception, with the
 * sentence, and with the code ("PSM_E_NOMEM") where it has a place for one.
 */
%include <exception.i>

/* ---- Languages with an error class of our own ---- */
#if defined(SWIGRUBY)
%{
static VALUE psm_ruby_error;
static void psm_raise(void) {
  VALUE error = rb_exc_new_cstr(psm_ruby_error, segment_reason());
  rb_iv_set(error, "@code", rb_str_new_cstr(segment_code()));
  rb_exc_raise(error);
}
%}
%init %{
  psm_ruby_error = rb_define_class_under(mPsm, "Error", rb_eStandardError);
  rb_define_attr(psm_ruby_error, "code", 1, 0);
%}
#define RAISE psm_raise();

#elif defined(SWIGJAVA)
%{
static void psm_raise(JNIEnv *env) {
  jclass type = (*env)->FindClass(env, "psm/PsmException");
  jmethodID make = type == NULL ? NULL : (*env)->GetMethodID(env, type, "<init>",
                                              "(Ljava/lang/String;Ljava/lang/String;)V");
  jstring code = make == NULL ? NULL : (*env)->NewStringUTF(env, segment_code());
  jstring reason = code == NULL ? NULL : (*env)->NewStringUTF(env, segment_reason());
  if (reason != NULL) (*env)->Throw(env, (*env)->NewObject(env, type, make, code, reason));
}
%}
#define RAISE psm_raise(jenv); /* and goes on to free the arguments */

#elif defined(SWIGCSHARP)
%{
typedef void(SWIGSTDCALL *psm_thrower)(const char *code, const char *reason);
static psm_thrower psm_throw;
%}
%wrapper %{
SWIGEXPORT void SWIGSTDCALL psm_csharp_thrower(psm_thrower thrower) { psm_throw = thrower; }
%}
%pragma(csharp) imclasscode=%{
  delegate void Thrower(string code, string reason);
  static void Throw(string code, string reason) {
    SWIGPendingException.Set(new PsmException(code, reason));
  }
  [global::System.Runtime.InteropServices.DllImport("$dllimport", EntryPoint="psm_csharp_thrower")]
  static extern void SetThrower(Thrower thrower);
  static Thrower thrower = Registered(Throw);
  static Thrower Registered(Thrower thrower) { SetThrower(thrower); return thrower; }
%}
#define RAISE psm_throw(segment_code(), segment_reason());

#elif defined(SWIGJAVASCRIPT)
%{
static void psm_raise(void) {
  v8::Isolate *isolate = v8::Isolate::GetCurrent();
  v8::Local<v8::Value> error = v8::Exception::Error(SWIGV8_STRING_NEW(segment_reason()));
  error.As<v8::Object>()->Set(isolate->GetCurrentContext(), SWIGV8_STRING_NEW("code"),
                              SWIGV8_STRING_NEW(segment_code())).FromMaybe(false);
  isolate->ThrowException(error);
}
%}
#define RAISE { psm_raise(); SWIG_fail; }

/* ---- Languages whose own way has a place for the code ---- */
#elif defined(SWIGTCL)
#define RAISE \
  { Tcl_SetObjResult(interp, Tcl_NewStringObj(segment_reason(), -1)); \
    Tcl_SetErrorCode(interp, "PSM", segment_code(), NULL); SWIG_fail; }

#elif defined(SWIGGUILE)
#define RAISE \
  scm_error(scm_from_utf8_symbol("psm-error"), FUNC_NAME, "~A", \
            scm_list_1(scm_from_utf8_string(segment_reason())), \
            scm_list_1(scm_from_utf8_string(segment_code())));

/* ---- Languages whose errors are text: the code stands at its end ---- */
#elif defined(SWIGPERL)
#define RAISE \
  { sv_setsv(get_sv("@", GV_ADD), mess_sv(sv_2mortal(newSVpv(segment_reason(), 0)), 0)); SWIG_fail; }

#elif defined(SWIGLUA)
#define RAISE { lua_pushstring(L, segment_reason()); SWIG_fail; }

#elif defined(SWIGPHP)
#define RAISE { zend_throw_exception(NULL, segment_reason(), 0); SWIG_fail; }

/* A failure is a panic; Try makes an error of it. */
#elif defined(SWIGGO)
%go_import("strings")
%insert(go_wrapper) %{
// Error is a call that failed.
type Error struct {
	Code   string // "PSM_E_NOMEM" and so on
	Reason string // a sentence
}

func (e *Error) Error() string { return e.Reason }

// Try runs calls and returns the *Error of the first that fails. Other panics go on.
func Try(calls func()) (err error) {
	defer func() {
		caught := recover()
		if caught == nil {
			return
		}
		text, _ := caught.(string)
		at := strings.LastIndex(text, " (PSM_E_")
		if at < 0 {
			panic(caught)
		}
		err = &Error{strings.TrimSuffix(text[at+2:], ")"), text}
	}()
	calls()
	return nil
}
%}
#define RAISE _swig_gopanic(segment_reason());

#else
#define RAISE SWIG_exception(SWIG_RuntimeError, segment_reason());
#endif

#if defined(SWIGCSHARP) || defined(SWIGD)
%feature("except", canthrow="1") { $action if (segment_failed()) RAISE }
#else
%exception { $action if (segment_failed()) RAISE }
#endif

#if defined(SWIGJAVASCRIPT)
%exception Segment::Segment {
  if (!args.IsConstructCall()) SWIG_exception_fail(SWIG_TypeError, "Segment is a class: use new");
  $action
  if (segment_failed()) RAISE
}
#endif
