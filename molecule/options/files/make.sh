# Makes in the folder $1: blog.pem and blog.key, eve and eve.pub, and blog.git.tar, the repository of the app `blog`.
set -eu
made=$1
here=$(cd "$(dirname "$0")" && pwd)
guestbook=$here/../../../examples/guestbook
rm -rf "$made"
mkdir -p "$made"
cd "$made"

openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=blog.test/O=the options scenario" \
    -addext "subjectAltName=DNS:blog.test,DNS:www.blog.test" -keyout blog.key -out blog.pem 2>/dev/null
ssh-keygen -q -t ed25519 -N '' -C eve -f eve

git init -q -b main blog
git -C blog config user.name tests
git -C blog config user.email tests@blog.test
version() { # what the style sheet says, what is made of it
    echo "/* $1 */" >> blog/backend/guestbook/static/style.css
    git -C blog add -A
    git -C blog commit -q -m "$1"
}
mkdir -p blog/backend/requirements blog/backend/notes
cp -R "$guestbook/." blog/backend
cp "$here/worker.sh" blog/backend
echo '-r ../requirements.txt' > blog/backend/requirements/production.txt
mkdir blog/backend/worker
touch blog/backend/worker/.gitkeep
echo 'from = source' > blog/backend/settings.ini
echo 'a note' > blog/backend/notes/note.txt
echo 'not of the app' > blog/README
version "as tagged"
git -C blog tag -a -m "the first" v1
version "as on main"
git -C blog checkout -q -b feature/next v1
version "as in the commit"
git -C blog rev-parse HEAD > commit
version "as on the branch"
git -C blog checkout -q main
git clone -q --bare blog blog.git
tar -cf blog.git.tar blog.git
