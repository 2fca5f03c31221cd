# A worker process for the tests: says which release it is of, once a second, and when it ends.
trap 'echo "$RELEASE_ID ended" >> worker/log; exit 0' TERM
echo "$RELEASE_ID started" >> worker/log
while :; do
    # at once: who reads it meanwhile must not find it empty
    echo "$RELEASE_ID" > worker/now.new
    mv worker/now.new worker/now
    sleep 0.5
done
