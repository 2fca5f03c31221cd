#!/bin/sh
# acme.sh ADDRESS: an ACME server at https://ADDRESS:14000/dir, with the name server that it asks (and this box from now on) on port 53:
# names in test are what it was told, those in /etc/names/*.conf come before, and all others are asked where this box asked before.
#   curl -d '{"host":"www.example.test","addresses":["192.0.2.1"]}' http://ADDRESS:8055/add-a    tells it a name; clear-a takes it away
#   https://ADDRESS:15000/roots/0, /intermediates/0                                            the CA of the certificates it issues
set -eu
address=$1
mkdir -p /etc/acme
cd /etc/acme
# the server's own certificate; its CA is what ACME clients have to trust
curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $curve -days 30 -keyout ca.key -out ca.pem -subj '/CN=CA of the ACME server' 2>/dev/null
openssl req $curve -keyout tls.key -out tls.csr -subj /CN=acme 2>/dev/null
echo "subjectAltName=IP:$address,IP:127.0.0.1,DNS:acme.test" > tls.ext
openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out tls.pem -extfile tls.ext 2>/dev/null

cat > pebble.json <<EOF
{"pebble": {"listenAddress": "0.0.0.0:14000", "managementListenAddress": "0.0.0.0:15000",
 "certificate": "/etc/acme/tls.pem", "privateKey": "/etc/acme/tls.key", "httpPort": 80, "tlsPort": 443,
 "ocspResponderURL": "", "externalAccountBindingRequired": false}}
EOF

unit() { # name, environment, command
    printf '[Unit]\nDescription=%s\n[Service]\nEnvironment=%s\nExecStart=%s\nRestart=always\n[Install]\nWantedBy=multi-user.target\n' \
        "$1" "$2" "$3" > "/etc/systemd/system/$1.service"
}
unit acme-dns NONE= "/usr/bin/pebble-challtestsrv -defaultIPv4= -defaultIPv6= -dns01=127.0.0.1:8053 -http01= -https01= -tlsalpn01= -management=:8055"
# no pause before it looks, no refused nonces at random, and each order is validated anew
unit acme "PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=0" \
    "/usr/bin/pebble -config /etc/acme/pebble.json -dnsserver 127.0.0.1:53"
mkdir -p /etc/names
before=$(sed -n '/127.0.0.1$/!s/^nameserver //p' /etc/resolv.conf | head -n 1)
unit names NONE= "/usr/sbin/dnsmasq --keep-in-foreground --no-resolv --no-hosts --cache-size=0 --conf-file=/dev/null --conf-dir=/etc/names,*.conf\
 --server=/test/127.0.0.1#8053 --server=${before:-127.0.0.11}"
systemctl daemon-reload
systemctl enable --quiet --now acme-dns names acme
for _ in $(seq 100); do
    if curl -fsS --cacert ca.pem "https://$address:14000/dir" >/dev/null 2>&1; then
        echo "nameserver 127.0.0.1" > /etc/resolv.conf
        exit 0
    fi
    sleep 0.1
done
journalctl -u acme -u acme-dns --no-pager >&2
exit 1
