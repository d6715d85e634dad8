package psm;

/** A call that failed. */
public class PsmException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private final String code;

  PsmException(String code, String reason) {
    super(reason);
    this.code = code;
  }

  /** "PSM_E_NOMEM" and so on. */
  public String code() {
    return code;
  }
}
