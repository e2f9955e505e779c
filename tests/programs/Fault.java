/** Fault WHAT: what a JVM does with faults of Java's and of native code. */
public class Fault {
    static native void boom(int how);

    static int deep(int n) { return deep(n + 1) + 1; }

    static int lengths(String[] words, int rounds) {
        int caught = 0;
        for (int i = 0; i < rounds; i++) {
            try { caught += words[i % 50000 == 0 ? 1 : 0].length() * 0; }
            catch (NullPointerException e) { caught++; }
        }
        return caught;
    }

    static void overflow() {
        try { deep(0); } catch (StackOverflowError e) { System.out.println("overflow caught"); }
    }

    public static void main(String[] words) throws Exception {
        System.out.println("start");
        switch (words[0]) {
            case "null": System.out.println(lengths(new String[] {"a", null}, 200000)); break;
            case "overflow": overflow(); Thread t = new Thread(Fault::overflow); t.start(); t.join(); break;
            case "hook": Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook"))); System.exit(3);
            case "uncaught": throw new IllegalStateException("uncaught");
            case "memory": byte[][] all = new byte[1 << 20][]; for (int i = 0; ; i++) all[i] = new byte[1 << 20];
            case "child": System.out.println(new ProcessBuilder("sh", "-c", "kill -SEGV $$").start().waitFor()); break;
            default: System.load(System.getenv("BOOM")); boom(Integer.parseInt(words[0]));
        }
        System.out.println("end");
    }
}
