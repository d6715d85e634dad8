package psm;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/** Loads the native library that lies beside this class, in the jar. */
final class Library {
  private Library() {}

  static void load() {
    String resource = "native/" + System.getProperty("os.name").toLowerCase() + "-"
        + System.getProperty("os.arch") + "/" + System.mapLibraryName("psm-java");
    try (InputStream library = Library.class.getResourceAsStream(resource)) {
      if (library == null) {
        throw new UnsatisfiedLinkError("psm.jar was not built for this system: it has no " + resource);
      }
      Path copy = Files.createTempFile("psm-java", ".so");
      try {
        Files.copy(library, copy, StandardCopyOption.REPLACE_EXISTING);
        System.load(copy.toAbsolutePath().toString());
      } finally {
        Files.delete(copy); // what is loaded stays
      }
    } catch (IOException e) {
      throw new UnsatisfiedLinkError("psm: cannot unpack " + resource + ": " + e.getMessage());
    }
  }
}
