/* How numbers of 64 bits and byte strings look in each language.
 *
 * Numbers keep all 64 bits everywhere. Where a language has no unsigned ones
 * (Java, Lua, PHP) the same bits are its signed number. SWIG's own rules serve
 * where they do this already.
 */
#define BYTES_IN (const char *bytes, uint64_t length)

/* ---- Perl ---- */
#if defined(SWIGPERL)
%typemap(in) BYTES_IN (STRLEN n) {
  if (!SvOK($input) || SvROK($input)) SWIG_exception_fail(SWIG_TypeError, "expected a byte string");
  $1 = SvPVbyte($input, n); /* dies of characters beyond 255 */
  $2 = n;
}
%typemap(out) Bytes {
  $result = sv_2mortal(newSVpvn($1.data, $1.length));
  segment_bytes_free(&$1);
  argvi++;
}

/* ---- Tcl ---- */
#elif defined(SWIGTCL)
%fragment("psm_tcl_bytes", "header") %{
/* Tcl's own conversion would silently cut characters beyond 255. */
static int psm_tcl_bytes(Tcl_Obj *object, const char **data, uint64_t *length) {
  int count = Tcl_GetCharLength(object);
  for (int i = 0; i < count; i++)
    if (Tcl_GetUniChar(object, i) > 255) return 0;
  *data = (const char *)Tcl_GetByteArrayFromObj(object, &count);
  *length = (uint64_t)count;
  return 1;
}
%}
%typemap(in, fragment="psm_tcl_bytes") BYTES_IN (const char *data) {
  if (!psm_tcl_bytes($input, &data, &$2))
    SWIG_exception_fail(SWIG_TypeError, "expected bytes: encode the text first");
  $1 = (char *)data;
}
%typemap(out) Bytes {
  Tcl_SetObjResult(interp, Tcl_NewByteArrayObj((unsigned char *)$1.data, (int)$1.length));
  segment_bytes_free(&$1);
}

/* ---- Lua: one kind of number, 64 bits, signed ---- */
#elif defined(SWIGLUA)
%{
static int psm_lua_integer(lua_State *L, int at) {
  int whole = 0;
  if (lua_type(L, at) == LUA_TNUMBER) (void)lua_tointegerx(L, at, &whole);
  return whole;
}
/* SWIG takes any userdata for one of its own. */
static int psm_lua_segment(lua_State *L, int at) {
  int is = lua_type(L, at) == LUA_TUSERDATA && lua_rawlen(L, at) == sizeof(swig_lua_userdata) &&
           luaL_getmetafield(L, at, ".type") == LUA_TSTRING;
  if (is) {
    is = strcmp(lua_tostring(L, -1), "Segment") == 0;
    lua_pop(L, 1);
  }
  return is;
}
static int psm_lua_bytes(lua_State *L, int at) { return lua_type(L, at) == LUA_TSTRING; }
%}
%typemap(in, checkfn="psm_lua_integer") int64_t, uint64_t "$1 = ($1_ltype)lua_tointeger(L, $input);"
%typemap(out) int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
  "lua_pushinteger(L, (lua_Integer)$1); SWIG_arg++;"
%typemap(in, checkfn="psm_lua_segment") Segment *self, struct Segment *self
  "$1 = ($1_ltype)((swig_lua_userdata *)lua_touserdata(L, $input))->ptr;"
%typemap(in, checkfn="psm_lua_bytes") BYTES_IN (size_t n) {
  $1 = (char *)lua_tolstring(L, $input, &n);
  $2 = n;
}
%typemap(out) Bytes {
  lua_pushlstring(L, $1.data, $1.length);
  segment_bytes_free(&$1);
  SWIG_arg++;
}

/* ---- Ruby ---- */
#elif defined(SWIGRUBY)
%typemap(in) BYTES_IN {
  Check_Type($input, T_STRING);
  $1 = RSTRING_PTR($input);
  $2 = (uint64_t)RSTRING_LEN($input);
}
%typemap(out) Bytes {
  $result = rb_str_new($1.data, (long)$1.length);
  segment_bytes_free(&$1);
}

/* ---- Java: long and byte[] ---- */
#elif defined(SWIGJAVA)
%pragma(java) jniclasscode=%{
  static { Library.load(); }
%}
%apply long long { uint64_t };
%typemap(jni) BYTES_IN, Bytes "jbyteArray"
%typemap(jtype) BYTES_IN, Bytes "byte[]"
%typemap(jstype) BYTES_IN, Bytes "byte[]"
%typemap(javain) BYTES_IN "$javainput"
%typemap(javaout) Bytes { return $jnicall; }
%typemap(in) BYTES_IN {
  $1 = $input ? (char *)(*jenv)->GetByteArrayElements(jenv, $input, NULL) : NULL;
  $2 = $input ? (uint64_t)(*jenv)->GetArrayLength(jenv, $input) : 0;
}
%typemap(freearg) BYTES_IN
  "if ($1) (*jenv)->ReleaseByteArrayElements(jenv, $input, (jbyte *)$1, JNI_ABORT);"
%typemap(out) Bytes {
  jsize count = (jsize)$1.length;
  $result = $1.data ? (*jenv)->NewByteArray(jenv, count) : NULL;
  if ($result) (*jenv)->SetByteArrayRegion(jenv, $result, 0, count, (const jbyte *)$1.data);
  segment_bytes_free(&$1);
}

/* ---- C#: one pointer crosses, with the length in front of the bytes ---- */
#elif defined(SWIGCSHARP)
%pragma(csharp) imclasscode=%{
  internal static byte[] Packed(byte[] bytes) {
    if (bytes == null) throw new global::System.ArgumentNullException("bytes");
    var packed = new byte[8 + bytes.Length];
    global::System.BitConverter.GetBytes((long)bytes.Length).CopyTo(packed, 0);
    bytes.CopyTo(packed, 8);
    return packed;
  }
  internal static byte[] Unpacked(global::System.IntPtr data) {
    if (data == global::System.IntPtr.Zero) return null;
    var bytes = new byte[global::System.Runtime.InteropServices.Marshal.ReadInt64(data, -8)];
    global::System.Runtime.InteropServices.Marshal.Copy(data, bytes, 0, bytes.Length);
    FreeBytes(data);
    return bytes;
  }
  [global::System.Runtime.InteropServices.DllImport("$dllimport", EntryPoint="psm_csharp_free")]
  static extern void FreeBytes(global::System.IntPtr data);
%}
%wrapper %{
SWIGEXPORT void SWIGSTDCALL psm_csharp_free(char *data) {
  Bytes bytes = {data, 0};
  segment_bytes_free(&bytes);
}
%}
%typemap(ctype) BYTES_IN "char *"
%typemap(imtype) BYTES_IN "byte[]"
%typemap(cstype) BYTES_IN, Bytes "byte[]"
%typemap(csin) BYTES_IN "$modulePINVOKE.Packed($csinput)"
%typemap(in) BYTES_IN {
  memcpy(&$2, $input, sizeof $2);
  $1 = $input + sizeof $2;
}
%typemap(ctype) Bytes "char *"
%typemap(imtype) Bytes "global::System.IntPtr"
%typemap(csout, excode=SWIGEXCODE) Bytes {
    global::System.IntPtr data = $imcall;$excode
    return $modulePINVOKE.Unpacked(data);
  }
%typemap(out) Bytes "$result = $1.data;"

/* ---- JavaScript of Node.js: BigInt and Buffer ---- */
#elif defined(SWIGJAVASCRIPT)
%{
#include <node_buffer.h>
/* A BigInt, or a Number that is whole and exact. */
template <typename T> static bool psm_v8_integer(SWIGV8_VALUE value, T *number) {
  const bool is_signed = (T)-1 < 0;
  bool exact = false;
  if (value->IsBigInt()) {
    v8::Local<v8::BigInt> big = value.As<v8::BigInt>();
    *number = is_signed ? (T)big->Int64Value(&exact) : (T)big->Uint64Value(&exact);
  } else if (value->IsNumber()) {
    double d = value.As<v8::Number>()->Value();
    exact = d >= (is_signed ? -9007199254740991.0 : 0.0) && d <= 9007199254740991.0 &&
            d == (double)(int64_t)d;
    *number = exact ? (T)d : 0;
  }
  return exact;
}
%}
/* SWIG takes any object with a native part for one of its own. */
%typemap(in) Segment *self, struct Segment *self {
  void *ticket = NULL;
  SWIGV8_ClientData *known = static_cast<SWIGV8_ClientData *>($1_descriptor->clientdata);
  if (!SWIGV8_FUNCTION_TEMPLATE::New(v8::Isolate::GetCurrent(), known->class_templ)
           ->HasInstance($input) ||
      !SWIG_IsOK(SWIG_ConvertPtr($input, &ticket, $1_descriptor, 0)))
    SWIG_exception_fail(SWIG_TypeError, "expected a Segment");
  $1 = ($1_ltype)ticket;
}
%typemap(in) int64_t, uint64_t {
  if (!psm_v8_integer($input, &$1))
    SWIG_exception_fail(SWIG_TypeError, "expected a BigInt of 64 bits, or a whole Number below 2^53");
}
%typemap(out) int64_t "$result = v8::BigInt::New(v8::Isolate::GetCurrent(), $1);"
%typemap(out) uint64_t "$result = v8::BigInt::NewFromUnsigned(v8::Isolate::GetCurrent(), $1);"
%typemap(in) BYTES_IN {
  if (!node::Buffer::HasInstance($input))
    SWIG_exception_fail(SWIG_TypeError, "expected a Buffer or a Uint8Array");
  $2 = node::Buffer::Length($input);
  $1 = $2 ? node::Buffer::Data($input) : (char *)"";
}
%typemap(out) Bytes {
  $result = node::Buffer::Copy(v8::Isolate::GetCurrent(), $1.data, $1.length).ToLocalChecked();
  segment_bytes_free(&$1);
}

/* ---- Go: uint64 and []byte ---- */
#elif defined(SWIGGO)
%typemap(gotype) BYTES_IN, Bytes "[]byte"
%typemap(in) BYTES_IN {
  $1 = $input.len ? (char *)$input.array : (char *)"";
  $2 = (uint64_t)$input.len;
}
%typemap(imtype) Bytes "uint64"
%typemap(goout) Bytes "$result = takeBytes($1)"
%typemap(out) Bytes "$result = (long long)(uintptr_t)$1.data;"
%{
static void releaseBytes(uint64_t data) {
  Bytes bytes = {(char *)(uintptr_t)data, 0};
  segment_bytes_free(&bytes);
}
%}
void releaseBytes(uint64_t data);
%insert(go_wrapper) %{
func takeBytes(data uint64) []byte {
	start := *(*unsafe.Pointer)(unsafe.Pointer(&data))
	length := *(*uint64)(unsafe.Add(start, -8))
	bytes := append([]byte{}, unsafe.Slice((*byte)(start), length)...)
	ReleaseBytes(data)
	return bytes
}
%}

/* ---- PHP: int of 64 bits, signed ---- */
#elif defined(SWIGPHP)
%typemap(in) int64_t, uint64_t {
  if (Z_TYPE($input) != IS_LONG) SWIG_exception(SWIG_TypeError, "expected an int");
  $1 = ($1_ltype)Z_LVAL($input);
}
%typemap(out) int64_t, uint64_t "RETVAL_LONG((zend_long)$1);"
%typemap(in) BYTES_IN {
  if (Z_TYPE($input) != IS_STRING) SWIG_exception(SWIG_TypeError, "expected a string of bytes");
  $1 = Z_STRVAL($input);
  $2 = Z_STRLEN($input);
}
%typemap(out) Bytes {
  RETVAL_STRINGL($1.data, $1.length);
  segment_bytes_free(&$1);
}
/* ---- Guile: integers and bytevectors ---- */
#elif defined(SWIGGUILE)
%typemap(in) uint64_t {
  if (!scm_is_unsigned_integer($input, 0, UINT64_MAX))
    scm_wrong_type_arg_msg(FUNC_NAME, $argnum, $input, "integer from 0 to 2^64-1");
  $1 = scm_to_uint64($input);
}
%typemap(in) int64_t {
  if (!scm_is_signed_integer($input, INT64_MIN, INT64_MAX))
    scm_wrong_type_arg_msg(FUNC_NAME, $argnum, $input, "integer of 64 bits, signed");
  $1 = scm_to_int64($input);
}
%typemap(out) int8_t "$result = scm_from_int8($1);"
%typemap(out) uint8_t "$result = scm_from_uint8($1);"
%typemap(in) BYTES_IN {
  SCM_ASSERT_TYPE(scm_is_bytevector($input), $input, $argnum, FUNC_NAME, "bytevector");
  $1 = (char *)SCM_BYTEVECTOR_CONTENTS($input);
  $2 = SCM_BYTEVECTOR_LENGTH($input);
}
%typemap(out) Bytes {
  $result = scm_c_make_bytevector($1.length);
  memcpy(SCM_BYTEVECTOR_CONTENTS($result), $1.data, $1.length);
  segment_bytes_free(&$1);
}
/* ---- D: ubyte[], whose own two words cross ---- */
#elif defined(SWIGD)
%{
typedef struct {
  size_t length;
  char *data;
} psm_d_array;
static void releaseBytes(uint64_t data) {
  Bytes bytes = {(char *)(uintptr_t)data, 0};
  segment_bytes_free(&bytes);
}
%}
void releaseBytes(uint64_t data);
%pragma(d) proxydmodulecode=%{
ubyte[] takeBytes(ubyte* data) {
  if (data is null) return null;
  ubyte[] bytes = data[0 .. *cast(ulong*)(data - 8)].dup;
  releaseBytes(cast(ulong)data);
  return bytes;
}
%}
%typemap(ctype) BYTES_IN, const char *bytes "psm_d_array *"
%typemap(imtype) BYTES_IN, const char *bytes "const(ubyte)[]*"
%typemap(dtype) BYTES_IN, const char *bytes "const(ubyte)[]"
%typemap(din) BYTES_IN, const char *bytes "&$dinput"
%typemap(in) BYTES_IN {
  $1 = $input->length ? $input->data : (char *)"";
  $2 = $input->length;
}
%typemap(ctype) Bytes "char *"
%typemap(imtype) Bytes "ubyte*"
%typemap(dtype) Bytes "ubyte[]"
%typemap(dout, excode=SWIGEXCODE) Bytes {
  auto data = $imcall;$excode
  return takeBytes(data);
}
%typemap(out) Bytes "$result = $1.data;"
#endif
