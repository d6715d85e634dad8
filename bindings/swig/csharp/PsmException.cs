namespace Psm {
  /// <summary>A call that failed.</summary>
  public class PsmException : System.Exception {
    /// <summary>"PSM_E_NOMEM" and so on.</summary>
    public string Code { get; private set; }

    internal PsmException(string code, string reason) : base(reason) {
      Code = code;
    }
  }
}
