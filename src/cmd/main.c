/* The one binary: `ckube COMMAND`, or a command's name through a link. */
#include <stdio.h>

int main(void) {
    fprintf(stderr, "ckube %s\n", CKUBE_VERSION);
    return 2;
}
