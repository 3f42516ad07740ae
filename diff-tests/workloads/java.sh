# A Java program with little room for its objects.
prepare() {
    java=/usr/lib/jvm/java-17-openjdk-amd64/bin/keytool
}
work() {
    for i in 1 2; do
        $java -J-Xmx16m -J-Xmn512k -J-XX:+UseSerialGC -J-XX:TieredStopAtLevel=1 -list -storepass x >/dev/null 2>&1 || true
    done
}
